import { createTheme } from "@mantine/core";

/** One accent over neutrals; figures in tabular numerals (page.css). */
export const theme = createTheme({
  primaryColor: "teal",
  primaryShade: 9,
  autoContrast: true,
  // Above this luminance black text has the better contrast by WCAG's formula.
  luminanceThreshold: 0.179,
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily:
    '"Inter", system-ui, -apple-system, "Segoe UI", "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Microsoft YaHei", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: { fontWeight: "650", sizes: { h1: { fontSize: "1.6rem" }, h2: { fontSize: "1.15rem" } } },
});
