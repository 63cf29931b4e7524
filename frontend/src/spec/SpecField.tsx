import { Select, TagsInput, TextInput } from "@mantine/core";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { DescribedSwitch } from "../ui/DescribedSwitch";
import { NumberEntry } from "./NumberEntry";
import type { Field } from "./schema";

type Props = {
  field: Field;
  value: unknown;
  error?: ReactNode;
  onChange: (value: unknown) => void;
  compact?: boolean;
};

const ALL_LINEAR = "all-linear";
/** Learning rates and shares move in steps of their own size. */
const STEPS: Record<string, number> = { learning_rate: 0.0001, max_length: 64, max_grad_norm: 0.5 };

/** One field of the spec, entered by its kind, with its name, its meaning and what is wrong with it. */
export function SpecField({ field, value, error, onChange, compact }: Props) {
  const { t } = useTranslation("launch");
  const key = field.path.replace(".", "_");
  const common = {
    label: t(key),
    description: compact ? undefined : t(`${key}_help`),
    error,
    "data-field": field.path,
  };
  switch (field.kind) {
    case "switch":
      return (
        <DescribedSwitch
          {...common}
          mt={compact ? 28 : 4}
          checked={Boolean(value)}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case "choice":
      return (
        <Select
          {...common}
          allowDeselect={false}
          data={field.options}
          value={value === undefined ? null : String(value)}
          onChange={onChange}
        />
      );
    case "number":
      return <NumberField field={field} value={value} onChange={onChange} common={common} />;
    case "list":
    case "targets":
      return (
        <TagsInput
          {...common}
          clearable
          data={field.kind === "targets" ? [ALL_LINEAR] : []}
          value={Array.isArray(value) ? value : value ? [String(value)] : []}
          onChange={(names) => onChange(field.kind === "targets" ? targetsOf(names) : names)}
        />
      );
    default:
      return (
        <TextInput
          {...common}
          value={String(value ?? "")}
          onChange={(event) => onChange(event.currentTarget.value || null)}
        />
      );
  }
}

type NumberProps = Pick<Props, "field" | "value" | "onChange"> & { common: { label: string } };

function NumberField({ field, value, onChange, common }: NumberProps) {
  const { t } = useTranslation("launch");
  const name = field.path.split(".")[1] ?? "";
  return (
    <NumberEntry
      {...common}
      step={STEPS[name] ?? (field.whole || (field.max ?? 2) > 1 ? 1 : 0.01)}
      whole={field.whole}
      placeholder={field.nullable ? t("notSet") : undefined}
      value={value}
      onChange={(entered) => onChange(entered === "" && field.nullable ? null : entered)}
    />
  );
}

/** all-linear stands alone: naming modules replaces it, and no name at all means it again. */
function targetsOf(names: string[]): string[] | string {
  const named = names.filter((name) => name !== ALL_LINEAR);
  return named.length === 0 || names.at(-1) === ALL_LINEAR ? ALL_LINEAR : named;
}
