import { useTranslation } from "react-i18next";
import type { JobState } from "../api/types";

/** ``label`` in place of the state's own name. */
export function StateBadge({ state, label }: { state: JobState; label?: string }) {
  const { t } = useTranslation("jobs");
  return <span className={`state state-${state}`}>{label ?? t(state)}</span>;
}
