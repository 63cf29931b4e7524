import { Group, Stack, Text, ThemeIcon, Title } from "@mantine/core";
import type { ReactNode } from "react";

type Props = { icon: ReactNode; title: string; about: string; children?: ReactNode };

/** Where there is nothing yet: why, and what to do next. */
export function Empty({ icon, title, about, children }: Props) {
  return (
    <Stack className="card" align="center" gap="xs" py={48} ta="center">
      <ThemeIcon variant="light" size={48} radius="xl" aria-hidden>
        {icon}
      </ThemeIcon>
      <Title order={2} mt="xs">
        {title}
      </Title>
      <Text className="muted" maw={520}>
        {about}
      </Text>
      {children && (
        <Group mt="sm" justify="center">
          {children}
        </Group>
      )}
    </Stack>
  );
}
