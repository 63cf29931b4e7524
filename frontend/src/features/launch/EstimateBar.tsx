import { Badge, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Estimate } from "../../api/types";
import { formatBytes } from "../../units";
import { FIT_COLOURS } from "./fit";

/** On a narrow screen the panel is below the whole form: its answer stays in sight, and leads there. */
export function EstimateBar({ estimate }: { estimate?: Estimate }) {
  const { t } = useTranslation("launch");
  if (!estimate) return null;
  return (
    <a href="#estimate" className="estimate-bar">
      <Text span size="sm" style={{ flexShrink: 0 }}>
        {t("estimate")} <b>{formatBytes(estimate.total_bytes)}</b>
      </Text>
      <Badge variant="light" color={FIT_COLOURS[estimate.fit]} style={{ minWidth: 0 }}>
        {t(`fit_${estimate.fit}`)} · {estimate.device.name}
      </Badge>
    </a>
  );
}
