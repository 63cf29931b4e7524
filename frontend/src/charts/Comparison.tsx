import "./ledger.css";
import { Table, Text } from "@mantine/core";
import { Fragment } from "react";
import { useTranslation } from "react-i18next";
import type { CategoryComparison } from "../api/types";
import { useSaid } from "../i18n/sentence";
import { formatBytes, formatPercent } from "../units";
import { colourOf } from "./categories";

const COLUMNS = 4;

/** Predicted beside measured for each category; what cannot be compared says why. */
export function Comparison({ rows }: { rows: CategoryComparison[] }) {
  const { t } = useTranslation(["measured", "charts"]);
  const said = useSaid();
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
            <Fragment key={row.category}>
              <Table.Tr className={row.incomparable_because ? "told-below" : undefined}>
                <Table.Td>
                  <div className="named">
                    <span aria-hidden style={{ background: colourOf(row.category) }} />
                    {t(`charts:${row.category}`)}
                  </div>
                </Table.Td>
                <Table.Td ta="right" data-numeric>
                  {formatBytes(row.predicted_bytes)}
                </Table.Td>
                <Table.Td ta="right" data-numeric>
                  {formatBytes(row.measured_bytes)}
                </Table.Td>
                <Table.Td ta="right" data-numeric>
                  <ErrorOf row={row} />
                </Table.Td>
              </Table.Tr>
              {row.incomparable_because && (
                <Table.Tr>
                  <Table.Td colSpan={COLUMNS}>
                    <Text size="xs" className="muted">
                      {t("notComparable", {
                        reason: said(row.incomparable_because, row.incomparable_sentence),
                      })}
                    </Text>
                  </Table.Td>
                </Table.Tr>
              )}
            </Fragment>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** In bytes and, where there is something to hold it against, in percent: below on a narrow screen. */
function ErrorOf({ row }: { row: CategoryComparison }) {
  const { error_bytes: bytes, error_percent: percent } = row;
  if (bytes == null) return "–";
  if (percent == null) return formatBytes(bytes);
  return (
    <>
      {formatBytes(bytes)} <span className="percent">({formatPercent(percent)})</span>
    </>
  );
}
