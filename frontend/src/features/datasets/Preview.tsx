import { Code, Group, Select, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { Preview as Shown } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { Problem } from "../../ui/Problem";

const ROWS = 5;

/** The first rows as the chosen model's chat template renders them, and how long all rows are with its tokenizer. */
export function Preview({ name }: { name: string }) {
  const { t } = useTranslation("datasets");
  const said = useSaid();
  const [model, setModel] = useState<string | null>(null);
  const models = useQuery({ queryKey: ["models"], queryFn: () => answer(api.GET("/api/models")) });
  const preview = useQuery({
    queryKey: ["preview", name, model],
    queryFn: () =>
      answer(
        api.GET("/api/datasets/{name}/rows", {
          params: { path: { name }, query: { limit: ROWS, model: model ?? undefined } },
        }),
      ) as Promise<Shown>,
  });
  return (
    <Stack mt="md" gap="sm">
      <Select
        label={t("renderedBy")}
        placeholder={t("demoModel")}
        clearable
        maw={320}
        data={[...new Set(models.data?.items.map((item) => item.name))]}
        value={model}
        onChange={setModel}
      />
      {preview.error && <Problem error={preview.error} />}
      {preview.isPending && <Skeleton height={120} />}
      {preview.data?.lengths && <Lengths {...preview.data.lengths} />}
      {preview.data?.rendered_unknown_because && (
        <Text size="sm" className="muted">
          {said(preview.data.rendered_unknown_because, preview.data.rendered_unknown_sentence)}
        </Text>
      )}
      {preview.data?.rows.map((row) => (
        <div key={row.line}>
          <Text size="xs" className="muted" mb={4}>
            {t("row", { line: row.line })}
            {row.tokens !== null && ` · ${t("tokens", { count: row.tokens })}`}
          </Text>
          <Code block tabIndex={0} mah={260} style={{ whiteSpace: "pre-wrap", overflow: "auto" }}>
            {row.rendered ?? JSON.stringify(row.raw, null, 1)}
          </Code>
        </div>
      ))}
    </Stack>
  );
}

function Lengths({ measured_rows: rows, median, p95, longest }: NonNullable<Shown["lengths"]>) {
  const { t } = useTranslation("datasets");
  const figures = { median, p95, longest };
  return (
    <Group gap="xl" aria-label={t("lengthsOf", { count: rows })} role="group">
      {Object.entries(figures).map(([figure, tokens]) => (
        <div key={figure}>
          <Text size="xs" className="muted">
            {t(figure)}
          </Text>
          <Text fw={600} fz="lg">
            {tokens.toLocaleString()}
          </Text>
        </div>
      ))}
      <Text size="sm" className="muted">
        {t("lengthsOf", { count: rows })}
      </Text>
    </Group>
  );
}
