import { useTranslation } from "react-i18next";

/** Reasons come from the worker in English; those that we know are told in the reader's language. */
export function useReason() {
  const { t } = useTranslation("machines");
  return (reason: string) => t(reason, { defaultValue: reason, keySeparator: false, nsSeparator: false });
}
