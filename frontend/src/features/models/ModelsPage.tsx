import { Badge, Button, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { LibraryModel } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { useConfirm } from "../../ui/confirm";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/server";
import { formatBytes } from "../../units";
import { AddModel } from "./AddModel";

const COLOURS = { ready: "teal", unprepared: "gray", broken: "red" };

export default function ModelsPage() {
  const { t } = useTranslation("models");
  const admin = useMe().data?.role === "admin";
  const models = useQuery({ queryKey: ["models"], queryFn: () => answer(api.GET("/api/models")) });
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        {models.error && <Problem error={models.error} retry={models.refetch} />}
        {models.isPending && <Skeleton height={96} radius={12} />}
        {models.data?.items.map((model) => (
          <Card key={model.id} model={model} admin={admin} />
        ))}
        {admin && <AddModel />}
        <section className="card">
          <Title order={2}>{t("hub")}</Title>
          <Text className="muted" size="sm" mb="sm">
            {t("hubAbout")}
          </Text>
          <Button component={Link} to="/new" variant="default" size="xs">
            {t("hubUse")}
          </Button>
        </section>
      </Stack>
    </>
  );
}

function Card({ model, admin }: { model: LibraryModel; admin: boolean }) {
  const { t } = useTranslation("models");
  const said = useSaid();
  const queries = useQueryClient();
  const confirm = useConfirm();
  const remove = useMutation({
    mutationFn: () =>
      answer(api.DELETE("/api/models/{model_id}", { params: { path: { model_id: model.id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["models"] }),
  });
  const facts = [model.architecture, model.bytes && formatBytes(model.bytes), model.path].filter(Boolean);
  return (
    <section className="card" aria-label={model.name}>
      <Group justify="space-between" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Title order={2} style={{ overflowWrap: "anywhere" }}>
              {model.name}
            </Title>
            <Badge variant="light" color={COLOURS[model.state]}>
              {t(model.state)}
            </Badge>
            {model.builtin && <Badge>{t("builtin")}</Badge>}
          </Group>
          <Text className="muted" size="sm" mt={4} style={{ overflowWrap: "anywhere" }}>
            {facts.join(" · ")}
          </Text>
          {model.note && (
            <Text size="sm" mt={4}>
              {said(model.note, model.note_sentence)}
            </Text>
          )}
        </div>
        <Group gap="xs">
          {model.state !== "broken" && (
            <Button
              component={Link}
              to="/new"
              search={{ model: model.name } as never}
              size="xs"
              variant="default"
              leftSection={<IconPlus size={14} aria-hidden />}
            >
              {t("train")}
            </Button>
          )}
          {!model.builtin && admin && (
            <Button
              size="xs"
              variant="subtle"
              color="red"
              leftSection={<IconTrash size={14} aria-hidden />}
              onClick={() =>
                confirm({
                  title: t("forgetTitle", { name: model.name }),
                  about: t("forgetAbout"),
                  act: t("forget"),
                  onConfirm: () => remove.mutate(),
                })
              }
            >
              {t("forget")}
            </Button>
          )}
        </Group>
      </Group>
      {remove.error && <Problem error={remove.error} />}
    </section>
  );
}
