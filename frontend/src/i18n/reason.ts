import { useTranslation } from "react-i18next";

const NAMESPACES = ["machines", "measured"];

/** Reasons come from the server in English; those that we know are told in the reader's language. */
export function useReason() {
  const { t } = useTranslation(NAMESPACES);
  return (reason: string): string =>
    t(reason, { ns: NAMESPACES, defaultValue: reason, keySeparator: false, nsSeparator: false });
}
