import { Button, Group, Text, TextInput, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem, answer, api } from "../../api/client";
import { Problem } from "../../ui/Problem";

/** An admin adds a directory of the server to the library. */
export function AddModel() {
  const { t } = useTranslation("models");
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [path, setPath] = useState("");
  const add = useMutation({
    mutationFn: () => answer(api.POST("/api/models", { body: { name, path } })),
    onSuccess: () => {
      setName("");
      setPath("");
      return queries.invalidateQueries({ queryKey: ["models"] });
    },
  });
  const problem = add.error instanceof ApiProblem ? add.error : undefined;
  const atField = problem?.field("name") ?? problem?.field("path");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    add.mutate();
  };
  return (
    <form className="card" onSubmit={submit}>
      <Title order={2}>{t("add")}</Title>
      <Text className="muted" size="sm">
        {t("addAbout")}
      </Text>
      {add.error && !atField && <Problem error={add.error} />}
      <Group align="flex-start" mt="sm">
        <TextInput
          label={t("name")}
          w={220}
          value={name}
          error={problem?.field("name")}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label={t("path")}
          placeholder="/srv/models/my-model"
          style={{ flex: 1, minWidth: 220 }}
          value={path}
          error={problem?.field("path")}
          onChange={(event) => setPath(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" mt={22} disabled={!name || !path} loading={add.isPending}>
          {t("addIt")}
        </Button>
      </Group>
    </form>
  );
}
