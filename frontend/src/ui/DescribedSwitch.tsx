import { Switch, type SwitchProps } from "@mantine/core";
import { useId } from "react";

/** A switch whose description, and what is wrong with it, are read out with it: Mantine's own shows them only. */
export function DescribedSwitch({ description, error, ...props }: SwitchProps) {
  const id = useId();
  const told = [
    { id: `${id}-about`, text: description },
    { id: `${id}-wrong`, text: error },
  ];
  const [about, wrong] = told.map(({ id: of, text }) => text && <span id={of}>{text}</span>);
  return (
    <Switch
      {...props}
      description={about}
      error={wrong}
      aria-invalid={Boolean(error)}
      aria-describedby={told.flatMap(({ id: of, text }) => (text ? of : [])).join(" ") || undefined}
    />
  );
}
