import { Anchor } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { FieldProblem } from "../../api/client";
import { listed } from "../../i18n/list";
import type { DraftState } from "./draft";

type Props = { problem?: FieldProblem; draft: DraftState };

/** The remedy of a wrong field as one click, where the server knows one that is simple. */
export function Mend({ problem, draft }: Props) {
  const { t } = useTranslation("launch");
  const changes = Object.entries(problem?.patch ?? {});
  if (changes.length === 0) return null;
  const worded = changes.map(([path, value]) => {
    const said = typeof value === "boolean" ? t(value ? "on" : "off") : value;
    return `${t(path.replace(".", "_"))}: ${said}`;
  });
  return (
    <Anchor
      component="button"
      type="button"
      size="xs"
      onClick={() => draft.change(Object.fromEntries(changes))}
    >
      {t("mend", { changes: listed(worded) })}
    </Anchor>
  );
}
