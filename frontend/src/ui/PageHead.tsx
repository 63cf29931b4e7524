import { Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

export function PageHead({
  title,
  about,
  children,
}: {
  title: string;
  about?: string;
  children?: ReactNode;
}) {
  return (
    <Group justify="space-between" align="flex-start" mb="lg" gap="md">
      <div style={{ minWidth: 0 }}>
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
