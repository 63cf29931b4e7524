import { Accordion, Group, SimpleGrid, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { SpecField } from "../../spec/SpecField";
import type { Section, SpecSchema } from "../../spec/schema";
import { read } from "../../spec/spec";
import type { DraftState } from "./draft";
import { EffectiveBatch } from "./EffectiveBatch";
import { Mend } from "./Mend";
import type { Problems } from "./problems";

const OPEN_AT_FIRST = ["adaptation", "precision", "batch", "data"];

type Props = { draft: DraftState; schema: SpecSchema; problems: Problems };

/** The sections of the spec; one that is closed says what it holds, and opens when something in it is wrong. */
export function Sections({ draft, schema, problems }: Props) {
  const { t } = useTranslation("launch");
  const [opened, setOpened] = useState(OPEN_AT_FIRST);
  const wrong = schema.sections
    .filter((section) => problems.under(section.name))
    .map((section) => section.name);
  // It stays open when it is mended, or the field that one works in would vanish.
  const shown = [...new Set([...opened, ...wrong])];
  if (shown.length > opened.length) setOpened(shown);
  return (
    <Accordion multiple variant="separated" value={shown} onChange={setOpened} order={2} radius="lg">
      {schema.sections.map((section) => (
        <Accordion.Item key={section.name} value={section.name} className="section">
          <Accordion.Control>
            <Group justify="space-between" wrap="nowrap" gap="md">
              <div>
                <Text fw={640}>{t(section.name)}</Text>
                <Text size="sm" className="muted">
                  {t(`${section.name}_about`)}
                </Text>
              </div>
              {!shown.includes(section.name) && (
                <Text size="sm" className="muted" ta="right" mr="xs" visibleFrom="xs">
                  {summaryOf(section, draft, (path) => t(path.replace(".", "_")))}
                </Text>
              )}
            </Group>
          </Accordion.Control>
          <Accordion.Panel>
            <SimpleGrid cols={{ base: 1, xs: 2 }} verticalSpacing="md">
              {section.fields.map((field) => (
                <SpecField
                  key={field.path}
                  field={field}
                  value={read(draft.spec, field.path) ?? field.fallback}
                  error={
                    problems.of(field.path) && (
                      <>
                        {problems.at(field.path)} <Mend problem={problems.of(field.path)} draft={draft} />
                      </>
                    )
                  }
                  onChange={(value) => draft.change(withCoupled(field.path, value, draft))}
                />
              ))}
            </SimpleGrid>
            {section.name === "batch" && <EffectiveBatch draft={draft} schema={schema} />}
          </Accordion.Panel>
        </Accordion.Item>
      ))}
    </Accordion>
  );
}

const SHOWN_VALUES = 3;

/** What is switched on in a closed section, and its first few values; a number says what it is of. */
function summaryOf(section: Section, draft: DraftState, labelOf: (path: string) => string): string {
  let values = 0;
  return section.fields
    .flatMap(({ path, fallback }) => {
      const value = read(draft.spec, path) ?? fallback;
      if (value === true) return labelOf(path);
      if ((typeof value !== "string" || value === "none") && typeof value !== "number") return [];
      if (++values > SHOWN_VALUES) return [];
      return typeof value === "number" ? `${labelOf(path)} ${value}` : value;
    })
    .join(" · ");
}

/** Full training cannot have quantized weights: choosing it turns quantization off in the same step. */
function withCoupled(path: string, value: unknown, draft: DraftState): Record<string, unknown> {
  if (
    path === "adaptation.method" &&
    value === "full" &&
    read(draft.spec, "precision.quantization") !== "none"
  )
    return { [path]: value, "precision.quantization": "none" };
  if (
    path === "precision.quantization" &&
    value !== "none" &&
    read(draft.spec, "adaptation.method") === "full"
  )
    return { [path]: value, "adaptation.method": "lora" };
  return { [path]: value };
}
