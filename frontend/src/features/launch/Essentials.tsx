import { Autocomplete, Box, Group, Select, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { SpecSchema } from "../../spec/schema";
import { read } from "../../spec/spec";
import { Problem } from "../../ui/Problem";
import { RowProblems } from "../../upload/RowProblems";
import { UploadButton, type UploadProblem } from "../../upload/UploadButton";
import type { DraftState } from "./draft";
import type { Problems } from "./problems";

type Props = { draft: DraftState; problems: Problems };

/** What every job needs: a name, a model, a data set. */
export function Essentials({ draft, schema, problems }: Props & { schema: SpecSchema }) {
  const { t } = useTranslation("launch");
  return (
    <section className="card" aria-label={t("essentials")}>
      <Stack>
        <TextInput
          label={t("name")}
          // A name that is there but empty is refused: only without one is the job called so.
          placeholder={draft.spec.name == null ? schema.nameFallback : undefined}
          value={String(draft.spec.name ?? "")}
          error={problems.at("name")}
          onChange={(event) => draft.change({ name: event.currentTarget.value })}
        />
        <ModelPicker draft={draft} problems={problems} />
        <DatasetPicker draft={draft} problems={problems} />
      </Stack>
    </section>
  );
}

function ModelPicker({ draft, problems }: Props) {
  const { t } = useTranslation("launch");
  const models = useQuery({ queryKey: ["models"], queryFn: () => answer(api.GET("/api/models")) });
  const known = useCatalogue().data?.models ?? [];
  const source = String(read(draft.spec, "model.source") ?? "huggingface");
  const id = String(read(draft.spec, "model.id") ?? "");
  const inLibrary = models.data?.items.map((model) => model.name) ?? [];
  const library = source === "library";
  const entry = known.find((model) => model.id.toLowerCase() === id.toLowerCase());
  const hint = library
    ? t("modelHelpLibrary")
    : entry?.parameters
      ? t("inCatalogue", { billions: (entry.parameters / 1e9).toPrecision(3) })
      : id.includes("/")
        ? t(source === "catalogue" ? "notInCatalogueAtAll" : "notInCatalogue")
        : t("modelHelpHub");
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }}>
      <Select
        label={t("source")}
        description={t(`source_${source}_help`)}
        allowDeselect={false}
        data={["library", "huggingface", "modelscope", "catalogue"].map((value) => ({
          value,
          label: t(`source_${value}`),
        }))}
        value={source}
        error={problems.at("model.source")}
        onChange={(value) =>
          draft.change({
            "model.source": value,
            ...(value === "library" && !inLibrary.includes(id) && inLibrary[0]
              ? { "model.id": inLibrary[0] }
              : {}),
          })
        }
      />
      <Autocomplete
        label={t("model")}
        description={hint}
        placeholder={library ? undefined : "owner/name"}
        data={[...new Set(library ? inLibrary : known.map((model) => model.id))]}
        limit={40}
        maxDropdownHeight={280}
        value={id}
        error={problems.at("model.id")}
        onChange={(value) => draft.change({ "model.id": value.trim() })}
      />
      {!library && (
        <TextInput
          label={t("revision")}
          description={t("revision_help")}
          placeholder="main"
          value={String(read(draft.spec, "model.revision") ?? "")}
          error={problems.at("model.revision")}
          onChange={(event) => draft.change({ "model.revision": event.currentTarget.value || null })}
        />
      )}
    </SimpleGrid>
  );
}

export function useCatalogue() {
  return useQuery({
    queryKey: ["catalogue"],
    queryFn: () => answer(api.GET("/api/catalogue")),
    // Machines come and go.
    staleTime: 15_000,
    refetchInterval: 15_000,
  });
}

function DatasetPicker({ draft, problems }: Props) {
  const { t } = useTranslation("launch");
  const [problem, setProblem] = useState<UploadProblem>();
  const datasets = useQuery({ queryKey: ["datasets"], queryFn: () => answer(api.GET("/api/datasets")) });
  const name = String(read(draft.spec, "data.dataset") ?? "");
  const chosen = datasets.data?.items.find((item) => item.name === name);
  // Of a cloned job or a link. It stays in the list, or the field would show another name or none.
  const gone = datasets.data && name && !chosen ? t("datasetGone", { name }) : undefined;
  return (
    <div>
      <Group align="flex-start" gap="sm">
        <Select
          label={t("dataset")}
          searchable
          allowDeselect={false}
          nothingFoundMessage={t("noSuchDataset")}
          style={{ flex: "1 1 240px" }}
          data={[
            ...new Set([
              ...(datasets.data?.items.map((dataset) => dataset.name) ?? []),
              ...(name ? [name] : []),
            ]),
          ]}
          value={name || null}
          error={problems.at("data.dataset") ?? gone}
          // The list would cover what is wrong when the launch leads here.
          openOnFocus={false}
          onChange={(value) => value && draft.change({ "data.dataset": value })}
        />
        {/* Beside the field, below its label; what is wrong with the field stands further below. */}
        <Box mt={{ base: 0, xs: 22 }}>
          <UploadButton
            variant="default"
            onDone={(dataset) => draft.change({ "data.dataset": dataset.name })}
            onProblem={setProblem}
          />
        </Box>
      </Group>
      {chosen && (
        <Text size="xs" className="muted" mt={4}>
          {t("datasetFacts", { rows: chosen.rows.toLocaleString(), left: chosen.problem_count })}
        </Text>
      )}
      {chosen && chosen.problem_count > 0 && <RowProblems dataset={chosen} />}
      {problem && <Problem error={problem.error} subject={problem.file} />}
    </div>
  );
}
