import { Alert, Button, List, Text } from "@mantine/core";
import { IconAlertCircle, IconRefresh } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { ApiProblem, type FieldProblem } from "../api/client";
import { problemText } from "../i18n/problem";
import { useSaid } from "../i18n/sentence";

const SHOWN = 20;

/** What is wrong, field by field. */
export function ProblemFields({ errors }: { errors: FieldProblem[] }) {
  if (errors.length === 0) return null;
  return (
    <List size="sm" mt={4}>
      {errors.slice(0, SHOWN).map((item) => (
        <List.Item key={item.loc + item.message}>
          <b>{item.loc}</b>: {problemText(item)}
        </List.Item>
      ))}
    </List>
  );
}

type Props = { error: unknown; subject?: string; retry?: () => unknown };

/** What happened, to what (``subject``) where that is not plain, and what to do next; ``retry`` where asking again may help. */
export function Problem({ error, subject, retry }: Props) {
  const { t } = useTranslation("shell");
  const problem = error instanceof ApiProblem ? error : undefined;
  const said = useSaid();
  const told = problem ? said(problem.detail, problem.detail_sentence) : String(error);
  const what = problem?.status === 0 ? t("noAnswer") : told;
  return (
    <Alert
      color="red"
      variant="light"
      role="alert"
      icon={<IconAlertCircle size={18} aria-hidden />}
      title={subject ? t("problemOf", { subject, problem: what }) : what}
    >
      <Text size="sm">
        {problem?.status === 0 ? t("noAnswerFix") : problem && said(problem.fix, problem.fix_sentence)}
      </Text>
      {problem && <ProblemFields errors={problem.errors} />}
      {retry && (
        <Button
          size="xs"
          mt="xs"
          variant="default"
          leftSection={<IconRefresh size={14} aria-hidden />}
          onClick={() => void retry()}
        >
          {t("retry")}
        </Button>
      )}
    </Alert>
  );
}
