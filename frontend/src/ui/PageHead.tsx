import { Group, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";

type Props = { title: string; about?: string; children?: ReactNode };

/** A page's name and purpose, with what one can do there at the right. */
export function PageHead({ title, about, children }: Props) {
  useDocumentTitle(`${title} · Tunescope`);
  return (
    <Group justify="space-between" align="flex-start" mb="lg" gap="md">
      <div style={{ minWidth: 0, flex: "1 1 320px" }}>
        <Title order={1}>{title}</Title>
        {about && (
          <Text className="muted" mt={4} maw={720}>
            {about}
          </Text>
        )}
      </div>
      <Group gap="xs">{children}</Group>
    </Group>
  );
}
