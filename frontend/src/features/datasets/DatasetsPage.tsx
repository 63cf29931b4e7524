import { Alert, Badge, Button, Code, FileButton, Group, List, Stack, Text, Title } from "@mantine/core";
import { modals } from "@mantine/modals";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Dataset, Preview } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { formatBytes } from "../../units";

export default function DatasetsPage() {
  const { t } = useTranslation("datasets");
  const queries = useQueryClient();
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => call<{ items: Dataset[] }>("GET", "/datasets"),
  });
  const refresh = () => queries.invalidateQueries({ queryKey: ["datasets"] });
  const upload = useMutation({
    mutationFn: (file: File) => {
      const form = new FormData();
      form.append("file", file);
      return call<Dataset>("POST", "/datasets", form);
    },
    onSuccess: refresh,
  });
  return (
    <>
      <PageHead title={t("title")} about={t("about")}>
        <FileButton
          accept=".jsonl,.json,.csv,.parquet"
          inputProps={{ "aria-label": t("upload") }}
          onChange={(file) => file && upload.mutate(file)}
        >
          {(props) => (
            <Button {...props} loading={upload.isPending}>
              {t("upload")}
            </Button>
          )}
        </FileButton>
      </PageHead>
      <Stack>
        {upload.error && <Problem error={upload.error} />}
        {upload.data && upload.data.problem_count > 0 && <Problems dataset={upload.data} />}
        {datasets.error && <Problem error={datasets.error} />}
        {datasets.data?.items.map((dataset) => (
          <Card key={dataset.id} dataset={dataset} refresh={refresh} />
        ))}
      </Stack>
    </>
  );
}

function Problems({ dataset }: { dataset: Dataset }) {
  const { t } = useTranslation("datasets");
  return (
    <Alert color="yellow" title={t("problems", { count: dataset.problem_count, name: dataset.name })}>
      <List size="sm">
        {dataset.problems.slice(0, 20).map((problem) => (
          <List.Item key={problem.line}>
            {t("line", { line: problem.line, message: problem.message })}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}

function Card({ dataset, refresh }: { dataset: Dataset; refresh: () => void }) {
  const { t } = useTranslation("datasets");
  const [open, setOpen] = useState(false);
  const remove = useMutation({
    mutationFn: () => call<void>("DELETE", `/datasets/${encodeURIComponent(dataset.name)}`),
    onSuccess: refresh,
  });
  const confirm = () =>
    modals.openConfirmModal({
      title: t("deleteTitle", { name: dataset.name }),
      labels: { confirm: t("delete"), cancel: t("keep") },
      confirmProps: { color: "red" },
      onConfirm: () => remove.mutate(),
    });
  return (
    <section className="card">
      <Group justify="space-between">
        <div>
          <Group gap="xs">
            <Title order={2}>{dataset.name}</Title>
            {dataset.builtin && <Badge tt="none">{t("builtin")}</Badge>}
          </Group>
          <Text className="muted" size="sm">
            {t("facts", { rows: dataset.rows, format: dataset.format, size: formatBytes(dataset.bytes) })}
          </Text>
        </div>
        <Group gap="xs">
          <Button variant="default" size="xs" aria-expanded={open} onClick={() => setOpen(!open)}>
            {t("preview")}
          </Button>
          {!dataset.builtin && (
            <Button variant="subtle" color="red" size="xs" onClick={confirm}>
              {t("delete")}
            </Button>
          )}
        </Group>
      </Group>
      {remove.error && <Problem error={remove.error} />}
      {open && <Rows name={dataset.name} />}
    </section>
  );
}

function Rows({ name }: { name: string }) {
  const { t } = useTranslation("datasets");
  const preview = useQuery({
    queryKey: ["preview", name],
    queryFn: () => call<Preview>("GET", `/datasets/${encodeURIComponent(name)}/rows?limit=5`),
  });
  if (preview.error) return <Problem error={preview.error} />;
  return (
    <Stack mt="md" gap="xs">
      {preview.data?.lengths && <Text size="sm">{t("lengths", { ...preview.data.lengths })}</Text>}
      {preview.data?.rendered_unknown_because && (
        <Text size="sm" className="muted">
          {preview.data.rendered_unknown_because}
        </Text>
      )}
      {preview.data?.rows.map((row) => (
        <Code block key={row.line} style={{ whiteSpace: "pre-wrap" }}>
          {row.rendered ?? JSON.stringify(row.raw, null, 1)}
        </Code>
      ))}
    </Stack>
  );
}
