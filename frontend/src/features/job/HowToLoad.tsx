import { Code, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import type { components } from "../../api/schema.gen";
import { Copy } from "../../ui/Copy";

export const CARD = "README.md";

const PROGRAM = /```python\n([\s\S]*?)```/;

/** The program in a result's README that loads it; nothing where an older release left another README. */
export function HowToLoad({ card }: { card: components["schemas"]["Artifact"] }) {
  const { t } = useTranslation("job");
  const text = useQuery({
    queryKey: ["card", card.url, card.sha256],
    queryFn: async () => (await fetch(card.url)).text(),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const program = text.data && PROGRAM.exec(text.data)?.[1]?.trimEnd();
  if (!program) return null;
  return (
    <Stack gap="xs">
      <Group justify="space-between" align="end" gap="sm">
        <div>
          <Text fw={640}>{t("useIt")}</Text>
          <Text size="sm" className="muted">
            {t("useItAbout")}
          </Text>
        </div>
        <Copy value={program} />
      </Group>
      <Code block className="card" tabIndex={0} style={{ overflow: "auto" }}>
        {program}
      </Code>
    </Stack>
  );
}
