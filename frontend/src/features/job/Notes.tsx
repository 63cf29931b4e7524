import { Alert, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { Job, Sentence } from "../../api/types";
import { useSaid } from "../../i18n/sentence";

/** More of the rows than this were surely meant to be learned from. */
const FEW_ROWS = 0.1;
const LEAVES_OUT: readonly string[] = ["nothing_learned_of_rows", "problem_rows_left_out"];

/** What the run does otherwise than asked, or leaves out; as a warning where it is much. */
export function Notes({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const said = useSaid();
  return job.notes?.map((note, index) => {
    const sentence = job.note_sentences?.[index];
    const text = said(note, sentence);
    return sentence && leavesOutMuch(sentence) ? (
      <Alert
        key={note}
        color="yellow"
        icon={<IconAlertTriangle size={18} aria-hidden />}
        title={t("manyLeftOut")}
        role="status"
      >
        {text}
      </Alert>
    ) : (
      <Text key={note} size="sm" className="muted">
        {text}
      </Text>
    );
  });
}

function leavesOutMuch({ kind, values = {} }: Sentence): boolean {
  const { left_out, rows } = values;
  return (
    LEAVES_OUT.includes(kind) &&
    typeof left_out === "number" &&
    typeof rows === "number" &&
    left_out > FEW_ROWS * rows
  );
}
