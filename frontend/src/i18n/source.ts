import { useTranslation } from "react-i18next";
import { gpuOfSource } from "../api/gpuSource";

/** Who measured a figure of memory, in words with the source's own name; an unknown source is told by that alone. */
export function useSourceName() {
  const { t } = useTranslation("job");
  return (source: string): string => {
    const { gpu, who } = gpuOfSource(source);
    const name = t(`by_${who.replaceAll(".", "_")}`, { defaultValue: who });
    return gpu > 1 ? t("onGpuOfJob", { gpu, name }) : name;
  };
}
