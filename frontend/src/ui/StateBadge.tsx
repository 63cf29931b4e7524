import { Badge } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { JobState } from "../api/types";

const COLOURS: Record<JobState, string> = {
  queued: "gray",
  assigned: "indigo",
  starting: "indigo",
  running: "blue",
  cancelling: "orange",
  succeeded: "teal",
  failed: "red",
  cancelled: "gray",
};

export function StateBadge({ state }: { state: JobState }) {
  const { t } = useTranslation("jobs");
  return (
    <Badge color={COLOURS[state]} variant="filled" tt="none" radius="sm">
      {t(state)}
    </Badge>
  );
}
