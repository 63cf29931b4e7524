import { List } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Dataset } from "../api/types";
import { useSaid } from "../i18n/sentence";

const SHOWN_PROBLEMS = 20;

/** The rows that were left out, by line. */
export function RowProblems({ dataset }: { dataset: Dataset }) {
  const { t } = useTranslation("datasets");
  const said = useSaid();
  const hidden = dataset.problem_count - Math.min(dataset.problems.length, SHOWN_PROBLEMS);
  return (
    <List size="sm">
      {dataset.problems.slice(0, SHOWN_PROBLEMS).map((problem) => (
        <List.Item key={problem.line}>
          {t("line", { line: problem.line, message: said(problem.message, problem.message_sentence) })}
        </List.Item>
      ))}
      {hidden > 0 && <List.Item>{t("andMore", { count: hidden })}</List.Item>}
    </List>
  );
}
