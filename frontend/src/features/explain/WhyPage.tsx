import { NumberInput, Select, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Explanation, Spec } from "../../api/types";
import { Waterfall } from "../../charts/Waterfall";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { formatBytes } from "../../units";

type Recipe = { name: string; title: string; source: string; date: string; spec: Spec };

export default function WhyPage() {
  const { t, i18n } = useTranslation("explain");
  const recipes = useQuery({
    queryKey: ["recipes"],
    queryFn: () => call<{ items: Recipe[] }>("GET", "/recipes"),
  });
  const [a, setA] = useState<string>("qwen-official-lora-base");
  const [b, setB] = useState<string>("swift-2024-lora");
  const [length, setLength] = useState<number | string>("");
  const [settled] = useDebouncedValue(length, 250);
  const found = recipes.data?.items;
  const side = (name: string) => {
    const recipe = found?.find((item) => item.name === name);
    // Only a changed setting is sent as a spec: a recipe by name also brings the library versions of its time.
    if (!recipe || !settled) return name;
    return { ...recipe.spec, name: recipe.title, data: { ...recipe.spec.data, max_length: Number(settled) } };
  };
  const explanation = useQuery({
    queryKey: ["explanation", a, b, settled, i18n.language],
    queryFn: () =>
      call<Explanation & { note: string }>("POST", "/explanations", {
        a: side(a),
        b: side(b),
        language: i18n.language === "en" ? "en" : "zh",
      }),
    enabled: Boolean(found),
    placeholderData: (before) => before,
  });
  const options = found?.map((recipe) => ({ value: recipe.name, label: recipe.title })) ?? [];
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        <SimpleGrid className="card" cols={{ base: 1, md: 3 }}>
          <Select
            label="A"
            searchable
            allowDeselect={false}
            data={options}
            value={a}
            onChange={(value) => value && setA(value)}
          />
          <Select
            label="B"
            searchable
            allowDeselect={false}
            data={options}
            value={b}
            onChange={(value) => value && setB(value)}
          />
          <NumberInput
            label={t("length")}
            placeholder={t("asInRecipe")}
            min={8}
            step={256}
            value={length}
            onChange={setLength}
          />
        </SimpleGrid>
        {explanation.error && <Problem error={explanation.error} />}
        {!explanation.data && !explanation.error && <Skeleton height={320} />}
        {explanation.data && <Answer explanation={explanation.data} />}
      </Stack>
    </>
  );
}

function Answer({ explanation }: { explanation: Explanation & { note: string } }) {
  const { t } = useTranslation("explain");
  const { a, b, sections } = explanation;
  const difference = b.total_bytes - a.total_bytes;
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {[a, b].map((side, index) => (
          <div className="card" key={index === 0 ? "a" : "b"}>
            <Text className="muted" size="sm">
              {index === 0 ? "A" : "B"} · {side.name}
            </Text>
            <Text fz={32} fw={700}>
              {formatBytes(side.total_bytes)}
            </Text>
          </div>
        ))}
      </SimpleGrid>
      <section className="card">
        <Title order={2} mb="sm">
          {t(difference < 0 ? "bNeedsLess" : "bNeedsMore", { bytes: formatBytes(Math.abs(difference)) })}
        </Title>
        {explanation.note && <Text mb="md">{explanation.note}</Text>}
        <Waterfall from={a.total_bytes} parts={sections} />
      </section>
    </>
  );
}
