import { useTranslation } from "react-i18next";
import type { JobState } from "../api/types";

export function StateBadge({ state }: { state: JobState }) {
  const { t } = useTranslation("jobs");
  return <span className={`state state-${state}`}>{t(state)}</span>;
}
