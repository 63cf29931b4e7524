import { TextInput, UnstyledButton } from "@mantine/core";
import { IconChevronDown, IconChevronUp } from "@tabler/icons-react";
import { type KeyboardEvent, type ReactNode, useState } from "react";
import { numberOf, stepped } from "./numbers";

type Props = {
  label: string;
  description?: string;
  error?: ReactNode;
  placeholder?: string;
  value: unknown;
  whole: boolean;
  step: number;
  /** A number, or what was entered instead of one: it is kept as it is, for the server to say what is wrong with it. */
  onChange: (entered: number | string) => void;
};

const DIRECTIONS: Partial<Record<string, 1 | -1>> = { ArrowUp: 1, ArrowDown: -1 };

/** Entry of a number that drops no character: 2e-4 is one, and 1.5 in place of a whole number is refused, not read as 15. */
export function NumberEntry({ value, whole, step, onChange, ...common }: Props) {
  // Only while it is typed in; otherwise the field shows the number that it was read as.
  const [typed, setTyped] = useState<string | null>(null);
  const text = typed ?? String(value ?? "");
  const enter = (entered: string) => {
    setTyped(entered);
    onChange(numberOf(entered, whole) ?? entered.trim());
  };
  const move = (direction: 1 | -1) => {
    const next = stepped(numberOf(text, whole) ?? 0, direction * step);
    if (typed !== null) setTyped(String(next));
    onChange(next);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const direction = DIRECTIONS[event.key];
    if (!direction) return;
    event.preventDefault();
    move(direction);
  };
  return (
    <TextInput
      {...common}
      inputMode={whole ? "numeric" : "decimal"}
      autoComplete="off"
      value={text}
      onChange={(event) => enter(event.currentTarget.value)}
      onKeyDown={onKeyDown}
      onBlur={() => setTyped(null)}
      rightSectionPointerEvents="auto"
      rightSectionWidth={25}
      rightSection={<Steps move={move} />}
    />
  );
}

/** For the mouse; the keyboard has its arrows. */
function Steps({ move }: { move: (direction: 1 | -1) => void }) {
  return (
    <div className="steps" aria-hidden>
      {([1, -1] as const).map((direction) => {
        const Icon = direction > 0 ? IconChevronUp : IconChevronDown;
        return (
          <UnstyledButton
            key={direction}
            tabIndex={-1}
            // The field keeps the focus that it has.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => move(direction)}
          >
            <Icon size={14} />
          </UnstyledButton>
        );
      })}
    </div>
  );
}
