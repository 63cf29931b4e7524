import { Accordion, Button, Group, SimpleGrid, Text } from "@mantine/core";
import { IconAdjustments, IconArrowBackUp } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem } from "../../api/client";
import { SpecField } from "../../spec/SpecField";
import { useSpecSchema } from "../../spec/schema";
import { read, type Tree } from "../../spec/spec";
import type { Side } from "./sides";

/** The sections that decide memory; a schedule or a priority costs nothing. */
const SECTIONS = ["adaptation", "precision", "batch", "parallelism", "data", "memory_savers", "optimizer"];

type Props = {
  letter: "A" | "B";
  side: Side;
  spec: Tree;
  error: unknown;
  change: (side: Side) => void;
};

/** Every setting of one side, to change and see the bytes move; what was changed can be taken back. */
export function SideSettings({ letter, side, spec, error, change }: Props) {
  const { t } = useTranslation("explain");
  const [open, setOpen] = useState(false);
  const sections = useSpecSchema().data?.sections ?? [];
  const count = Object.keys(side.changes).length;
  const problem = error instanceof ApiProblem ? error : undefined;
  const set = (path: string, value: unknown) => {
    const { [path]: _, ...others } = side.changes;
    const unchanged = JSON.stringify(value) === JSON.stringify(read(spec, path));
    change({ ...side, changes: unchanged ? others : { ...others, [path]: value } });
  };
  return (
    <div>
      <Group justify="space-between" gap="xs">
        <Button
          size="xs"
          variant="default"
          aria-expanded={open}
          leftSection={<IconAdjustments size={14} aria-hidden />}
          onClick={() => setOpen(!open)}
        >
          {t("changeSettings", { letter })}
        </Button>
        {count > 0 && (
          <Group gap={4}>
            <Text size="xs" className="muted">
              {t("changed", { count })}
            </Text>
            <Button
              size="compact-xs"
              variant="subtle"
              leftSection={<IconArrowBackUp size={13} aria-hidden />}
              onClick={() => change({ ...side, changes: {} })}
            >
              {t("asPublished")}
            </Button>
          </Group>
        )}
      </Group>
      {count > 0 && (
        <Text size="xs" mt={6} style={{ overflowWrap: "anywhere" }}>
          {Object.entries(side.changes)
            .map(([path, value]) => `${path} = ${String(value)}`)
            .join(" · ")}
        </Text>
      )}
      {open && (
        <Accordion multiple mt="sm" variant="contained" order={3} defaultValue={["adaptation"]}>
          {sections
            .filter((section) => SECTIONS.includes(section.name))
            .map((section) => (
              <Accordion.Item key={section.name} value={section.name}>
                <Accordion.Control>{t(section.name)}</Accordion.Control>
                <Accordion.Panel>
                  <SimpleGrid cols={{ base: 1, xs: 2 }} verticalSpacing="sm">
                    {section.fields.map((field) => (
                      <SpecField
                        key={field.path}
                        field={field}
                        compact
                        value={side.changes[field.path] ?? read(spec, field.path) ?? field.fallback}
                        error={problem?.field(`${letter.toLowerCase()}.${field.path}`)}
                        onChange={(value) => set(field.path, value)}
                      />
                    ))}
                  </SimpleGrid>
                </Accordion.Panel>
              </Accordion.Item>
            ))}
        </Accordion>
      )}
    </div>
  );
}
