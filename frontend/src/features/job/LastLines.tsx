import { useTranslation } from "react-i18next";

/** The end of an attempt's log, opened by whom the words above it do not suffice; nothing where it left none. */
export function LastLines({ lines }: { lines: readonly string[] }) {
  const { t } = useTranslation("job");
  if (lines.length === 0) return null;
  return (
    <details style={{ marginTop: 10 }}>
      <summary>{t("lastLines")}</summary>
      <pre className="log" style={{ marginTop: 8 }}>
        {lines.join("\n")}
      </pre>
    </details>
  );
}
