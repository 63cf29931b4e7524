import { Table, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { CategoryComparison } from "../api/types";
import { useReason } from "../i18n/reason";
import { formatBytes, formatPercent } from "../units";
import { colourOf } from "./categories";

/** Predicted beside measured for each category; what cannot be compared says why. */
export function Comparison({ rows }: { rows: CategoryComparison[] }) {
  const { t } = useTranslation(["measured", "charts"]);
  const reason = useReason();
  return (
    <Table.ScrollContainer minWidth={300}>
      <Table className="comparison" horizontalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t("category")}</Table.Th>
            <Table.Th ta="right">{t("predicted")}</Table.Th>
            <Table.Th ta="right">{t("measured")}</Table.Th>
            <Table.Th ta="right">{t("error")}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.category}>
              <Table.Td>
                <span
                  aria-hidden
                  style={{
                    display: "inline-block",
                    width: 10,
                    height: 10,
                    marginRight: 8,
                    borderRadius: 3,
                    background: colourOf(row.category),
                  }}
                />
                {t(`charts:${row.category}`)}
                {row.incomparable_because && (
                  <Text size="xs" className="muted">
                    {t("notComparable", { reason: reason(row.incomparable_because) })}
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right">{formatBytes(row.predicted_bytes)}</Table.Td>
              <Table.Td ta="right">{formatBytes(row.measured_bytes)}</Table.Td>
              <Table.Td ta="right">{errorOf(row)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function errorOf({ error_bytes: bytes, error_percent: percent }: CategoryComparison): string {
  if (bytes == null) return "–";
  return percent == null ? formatBytes(bytes) : `${formatBytes(bytes)} (${formatPercent(percent)})`;
}
