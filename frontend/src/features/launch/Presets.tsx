import { Button, Group, Select } from "@mantine/core";
import { IconArrowBackUp } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Sentence } from "../../api/types";
import { DEMO_SPEC } from "../jobs/demo";
import type { DraftState } from "./draft";
import { type DraftSpec, read, START, write } from "./spec";

export type Recipe = {
  name: string;
  title: string;
  source: string;
  date: string;
  stack: string;
  notes: string[];
  note_sentences: Sentence[];
  spec: DraftSpec;
};

export function useRecipes() {
  return useQuery({
    queryKey: ["recipes"],
    queryFn: () => call<{ items: Recipe[] }>("GET", "/recipes"),
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** Fills the form with a published recipe and its model, keeping the data set; can be taken back. */
export function Presets({ draft }: { draft: DraftState }) {
  const { t } = useTranslation("launch");
  const recipes = useRecipes().data?.items ?? [];
  const [before, setBefore] = useState<DraftSpec>();
  const apply = (name: string) => {
    const recipe = recipes.find((item) => item.name === name);
    const spec: DraftSpec =
      name === "demo"
        ? DEMO_SPEC
        : name === "start"
          ? START
          : write({ ...recipe?.spec }, "data.dataset", read(draft.spec, "data.dataset"));
    setBefore(draft.spec);
    draft.replace(spec);
  };
  return (
    <Group gap="xs" wrap="nowrap">
      <Select
        aria-label={t("preset")}
        placeholder={t("preset")}
        searchable
        w={{ base: "100%", xs: 300 }}
        value={null}
        data={[
          {
            group: t("presetHere"),
            items: [
              { value: "start", label: t("presetStart") },
              { value: "demo", label: t("presetDemo") },
            ],
          },
          {
            group: t("presetPublished"),
            items: recipes.map((recipe) => ({ value: recipe.name, label: recipe.title })),
          },
        ]}
        onChange={(name) => name && apply(name)}
      />
      {before && (
        <Button
          variant="subtle"
          size="xs"
          leftSection={<IconArrowBackUp size={14} aria-hidden />}
          onClick={() => {
            draft.replace(before);
            setBefore(undefined);
          }}
        >
          {t("undo")}
        </Button>
      )}
    </Group>
  );
}
