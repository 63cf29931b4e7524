import { Badge, Button, Group, Text, Title } from "@mantine/core";
import { IconEye, IconPlus, IconTrash } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { Dataset } from "../../api/types";
import { useConfirm } from "../../ui/confirm";
import { Problem } from "../../ui/Problem";
import { formatBytes, formatDate } from "../../units";
import { RowProblems } from "../../upload/RowProblems";
import { Preview } from "./Preview";

type Props = { dataset: Dataset; opened: boolean; onGone: () => void };

export function DatasetCard({ dataset, opened, onGone }: Props) {
  const { t } = useTranslation("datasets");
  const [open, setOpen] = useState<boolean>();
  const [listed, setListed] = useState(false);
  const shown = open ?? opened;
  return (
    <section className="card" aria-label={dataset.name}>
      <Group justify="space-between" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Title order={2} style={{ overflowWrap: "anywhere" }}>
              {dataset.name}
            </Title>
            {dataset.builtin && <Badge>{t("builtin")}</Badge>}
            {dataset.problem_count > 0 && (
              <Badge
                component="button"
                color="yellow"
                aria-expanded={listed}
                onClick={() => setListed(!listed)}
                style={{ cursor: "pointer" }}
              >
                {t("leftOut", { count: dataset.problem_count })}
              </Badge>
            )}
          </Group>
          <Text className="muted" size="sm" mt={4}>
            {t("facts", {
              rows: dataset.rows.toLocaleString(),
              format: t(`format_${dataset.format}`, dataset.format),
              size: formatBytes(dataset.bytes),
            })}
            {dataset.owner && ` · ${dataset.owner} · ${formatDate(dataset.created_at)}`}
          </Text>
        </div>
        <Group gap="xs">
          <Button
            variant="default"
            size="xs"
            aria-expanded={shown}
            leftSection={<IconEye size={14} aria-hidden />}
            onClick={() => setOpen(!shown)}
          >
            {t("preview")}
          </Button>
          <Button
            variant="default"
            size="xs"
            component={Link}
            to="/new"
            search={{ dataset: dataset.name } as never}
            leftSection={<IconPlus size={14} aria-hidden />}
          >
            {t("train")}
          </Button>
          {!dataset.builtin && <Delete dataset={dataset} onGone={onGone} />}
        </Group>
      </Group>
      {listed && <RowProblems dataset={dataset} />}
      {shown && <Preview name={dataset.name} />}
    </section>
  );
}

function Delete({ dataset, onGone }: { dataset: Dataset; onGone: () => void }) {
  const { t } = useTranslation("datasets");
  const queries = useQueryClient();
  const confirm = useConfirm();
  const remove = useMutation({
    mutationFn: () =>
      answer(api.DELETE("/api/datasets/{name}", { params: { path: { name: dataset.name } } })),
    onSuccess: () => {
      onGone();
      return queries.invalidateQueries({ queryKey: ["datasets"] });
    },
  });
  return (
    <>
      <Button
        variant="subtle"
        color="red"
        size="xs"
        leftSection={<IconTrash size={14} aria-hidden />}
        loading={remove.isPending}
        onClick={() =>
          confirm({
            title: t("deleteTitle", { name: dataset.name }),
            about: t("deleteAbout"),
            act: t("delete"),
            onConfirm: () => remove.mutate(),
          })
        }
      >
        {t("delete")}
      </Button>
      {remove.error && <Problem error={remove.error} />}
    </>
  );
}
