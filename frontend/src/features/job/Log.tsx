import { Button, Group, Stack, Switch, Text, TextInput } from "@mantine/core";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Job, LogEvent } from "../../api/types";
import { download } from "../../ui/Copy";
import type { Live } from "./useLive";

/** The trainer's lines as they come: the view follows the newest unless one turns that off. */
export function Log({ live, job }: { live: Live; job: Job }) {
  const { t } = useTranslation("job");
  const [wanted, setWanted] = useState("");
  const [follow, setFollow] = useState(true);
  const word = wanted.trim().toLowerCase();
  const lines = word ? live.lines.filter((line) => line.line.toLowerCase().includes(word)) : live.lines;
  const box = useRef<HTMLPreElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new line is what moves the view
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length, follow]);
  const save = () => download(`${job.id}.log`, live.lines.map((line) => `${line.line}\n`).join(""));
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Group gap="sm">
          <TextInput
            aria-label={t("searchLog")}
            placeholder={t("searchLog")}
            leftSection={<IconSearch size={16} aria-hidden />}
            value={wanted}
            onChange={(event) => setWanted(event.currentTarget.value)}
          />
          <Text size="sm" className="muted" role="status">
            {word && t("linesFound", { count: lines.length })}
          </Text>
        </Group>
        <Group gap="md">
          <Switch
            label={t("followLog")}
            checked={follow}
            onChange={(event) => setFollow(event.currentTarget.checked)}
          />
          <Button
            size="xs"
            variant="default"
            disabled={live.lines.length === 0}
            leftSection={<IconDownload size={14} aria-hidden />}
            onClick={save}
          >
            {t("download")}
          </Button>
        </Group>
      </Group>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <pre ref={box} className="card log" tabIndex={0} role="log" aria-label={t("log")}>
        {live.lines.length === 0 ? t("noLog") : lines.map((line) => <Line key={line.sequence} line={line} />)}
      </pre>
    </Stack>
  );
}

function Line({ line }: { line: LogEvent }) {
  return <span title={new Date(line.at * 1000).toLocaleTimeString()}>{`${line.line}\n`}</span>;
}
