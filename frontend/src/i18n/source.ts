import { useTranslation } from "react-i18next";

/** Who measured a figure of memory, in words with the source's own name; an unknown source is told by that alone. */
export function useSourceName() {
  const { t } = useTranslation("job");
  return (source: string): string => t(`by_${source.replaceAll(".", "_")}`, { defaultValue: source });
}
