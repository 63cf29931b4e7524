import { Alert, Anchor, Button, Group, List, Stack, Text, Textarea } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { FieldProblem } from "../../api/client";
import { placedText } from "../../i18n/problem";
import { Copy, download } from "../../ui/Copy";
import { type DraftState, lineOf } from "./draft";
import { Mend } from "./Mend";
import type { Problems } from "./problems";

/** The same spec as text. What is wrong is listed with its line; a click goes there. */
export function YamlView({ draft, problems }: { draft: DraftState; problems: Problems }) {
  const { t } = useTranslation("launch");
  const input = useRef<HTMLTextAreaElement>(null);
  const syntax = draft.yamlProblem;
  const listed: { line?: number; text: string; problem?: FieldProblem }[] = syntax
    ? [
        {
          line: syntax.line,
          text: t(`yaml_${syntax.code}`, { defaultValue: syntax.message }) || t("yamlNeeds"),
        },
      ]
    : problems.all.map((error) => ({
        line: lineOf(draft.text, error.loc),
        text: placedText(error),
        problem: error,
      }));
  const go = (line: number) => {
    const element = input.current;
    if (!element) return;
    const start =
      draft.text
        .split("\n")
        .slice(0, line - 1)
        .join("\n").length + (line > 1 ? 1 : 0);
    const end = draft.text.indexOf("\n", start);
    element.focus();
    element.setSelectionRange(start, end < 0 ? draft.text.length : end);
  };
  return (
    <Stack gap="sm">
      {listed.length > 0 && (
        <Alert color="red" title={t("yamlProblems", { count: listed.length })} role="alert">
          <List size="sm">
            {listed.map((item) => (
              <List.Item key={item.text}>
                {item.line !== undefined && (
                  <Anchor component="button" type="button" size="sm" onClick={() => go(item.line ?? 1)}>
                    {t("yamlLine", { line: item.line })}
                  </Anchor>
                )}{" "}
                {item.text} <Mend problem={item.problem} draft={draft} />
              </List.Item>
            ))}
          </List>
        </Alert>
      )}
      <Group justify="space-between">
        <Text size="sm" className="muted">
          {t("yamlHelp")}
        </Text>
        <Group gap="xs">
          <Copy value={draft.text} />
          <Button
            size="xs"
            variant="default"
            leftSection={<IconDownload size={14} aria-hidden />}
            onClick={() => download("job.yaml", draft.text)}
          >
            {t("download")}
          </Button>
        </Group>
      </Group>
      <Textarea
        ref={input}
        aria-label={t("yaml")}
        className="yaml-input"
        autosize
        minRows={18}
        spellCheck={false}
        value={draft.text}
        error={Boolean(syntax)}
        onChange={(event) => draft.edit(event.currentTarget.value)}
      />
    </Stack>
  );
}
