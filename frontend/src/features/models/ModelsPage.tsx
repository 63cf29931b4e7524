import { Badge, Button, Group, Stack, Text, TextInput, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { LibraryModel } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/Shell";
import { formatBytes } from "../../units";

export default function ModelsPage() {
  const { t } = useTranslation("models");
  const queries = useQueryClient();
  const me = useMe().data;
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => call<{ items: LibraryModel[] }>("GET", "/models"),
  });
  const refresh = () => queries.invalidateQueries({ queryKey: ["models"] });
  const remove = useMutation({
    mutationFn: (id: string) => call<void>("DELETE", `/models/${id}`),
    onSuccess: refresh,
  });
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        {models.error && <Problem error={models.error} />}
        {remove.error && <Problem error={remove.error} />}
        {models.data?.items.map((model) => (
          <section className="card" key={model.id}>
            <Group justify="space-between">
              <div style={{ minWidth: 0 }}>
                <Group gap="xs">
                  <Title order={2}>{model.name}</Title>
                  <Badge
                    tt="none"
                    variant="filled"
                    color={model.state === "ready" ? "teal" : model.state === "broken" ? "red" : "gray"}
                  >
                    {t(model.state)}
                  </Badge>
                </Group>
                <Text className="muted" size="sm" style={{ overflowWrap: "anywhere" }}>
                  {[model.architecture, model.bytes && formatBytes(model.bytes), model.path, model.note]
                    .filter(Boolean)
                    .join(" · ")}
                </Text>
              </div>
              {!model.builtin && me?.role === "admin" && (
                <Button size="xs" variant="subtle" color="red" onClick={() => remove.mutate(model.id)}>
                  {t("forget")}
                </Button>
              )}
            </Group>
          </section>
        ))}
        {me?.role === "admin" && <AddModel refresh={refresh} />}
      </Stack>
    </>
  );
}

function AddModel({ refresh }: { refresh: () => void }) {
  const { t } = useTranslation("models");
  const [name, setName] = useState("");
  const [path, setPath] = useState("");
  const add = useMutation({
    mutationFn: () => call<LibraryModel>("POST", "/models", { name, path }),
    onSuccess: () => {
      setName("");
      setPath("");
      refresh();
    },
  });
  return (
    <section className="card">
      <Title order={2} mb="sm">
        {t("add")}
      </Title>
      {add.error && <Problem error={add.error} />}
      <Group align="flex-end" mt="xs">
        <TextInput label={t("name")} value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <TextInput
          label={t("path")}
          style={{ flex: 1, minWidth: 200 }}
          value={path}
          onChange={(event) => setPath(event.currentTarget.value)}
        />
        <Button
          variant="default"
          disabled={!name || !path}
          loading={add.isPending}
          onClick={() => add.mutate()}
        >
          {t("addIt")}
        </Button>
      </Group>
    </section>
  );
}
