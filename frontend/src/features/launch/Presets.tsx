import { Button, Group, Select } from "@mantine/core";
import { IconArrowBackUp } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { DEMO_SPEC } from "../../spec/demo";
import { useRecipes } from "../../spec/recipes";
import { type DraftSpec, read, START, write } from "../../spec/spec";
import type { DraftState } from "./draft";

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
