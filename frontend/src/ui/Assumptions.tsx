import { Text } from "@mantine/core";
import type { Sentence } from "../api/types";
import { useSaid } from "../i18n/sentence";

type Props = { assumptions?: string[]; sentences?: Sentence[] };

/** What an estimate or a trace takes for granted; ``sentences`` are the same for programs, in the same order. */
export function Assumptions({ assumptions = [], sentences = [] }: Props) {
  const said = useSaid();
  return (
    <ul style={{ paddingLeft: 18, margin: "8px 0 0" }}>
      {assumptions.map((assumption, index) => (
        <li key={assumption}>
          <Text size="sm">{said(assumption, sentences[index])}</Text>
        </li>
      ))}
    </ul>
  );
}
