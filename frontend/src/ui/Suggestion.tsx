import { Group, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { formatBytes } from "../units";

/** A change of a spec that saves memory: what it is, what it saves, its price in words, and a button for it. */
export function Suggestion({
  item,
  button,
}: {
  item: { title: string; bytes_saved: number; price: string };
  button: ReactNode;
}) {
  return (
    <Group justify="space-between" wrap="nowrap" gap="sm">
      <div style={{ minWidth: 0 }}>
        <Text size="sm">
          {item.title} <b style={{ whiteSpace: "nowrap" }}>−{formatBytes(item.bytes_saved)}</b>
        </Text>
        <Text size="xs" className="muted">
          {item.price}
        </Text>
      </div>
      {button}
    </Group>
  );
}
