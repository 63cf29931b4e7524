import { Badge, Button, Group, Text } from "@mantine/core";
import { formatBytes } from "../units";

type Props = {
  item: { title: string; bytes_saved: number; price: string };
  /** What the button says, and what it says to those who do not see what it stands beside. */
  label: string;
  spoken: string;
  /** A word beside the saving, such as that it fits then. */
  mark?: string;
  busy?: boolean;
  act: () => void;
};

/** A change of a spec that saves memory: what it is, what it saves, its price in words, and a button for it. */
export function Suggestion({ item, label, spoken, mark, busy = false, act }: Props) {
  return (
    <Group justify="space-between" wrap="nowrap" gap="sm">
      <div style={{ minWidth: 0 }}>
        <Text size="sm" component="div">
          {item.title} <b style={{ whiteSpace: "nowrap" }}>−{formatBytes(item.bytes_saved)}</b>
          {mark && (
            <Badge ml={6} size="sm" variant="light" color="teal">
              {mark}
            </Badge>
          )}
        </Text>
        <Text size="xs" className="muted">
          {item.price}
        </Text>
      </div>
      <Button
        size="xs"
        variant="default"
        style={{ flexShrink: 0 }}
        loading={busy}
        aria-label={spoken}
        onClick={act}
      >
        {label}
      </Button>
    </Group>
  );
}
