import { Badge, createTheme, type MantineColorsTuple, Tooltip } from "@mantine/core";

const brand: MantineColorsTuple = [
  "#e7f6f8",
  "#cfeaee",
  "#a3d8df",
  "#74c5cf",
  "#4cb3c0",
  "#33a6b5",
  "#1a93a4",
  "#0d8092",
  "#0b7285",
  "#085766",
];

/** One accent over neutrals. */
export const theme = createTheme({
  colors: { brand },
  primaryColor: "brand",
  primaryShade: 8,
  autoContrast: true,
  // Above this luminance black text has the better contrast by WCAG's formula.
  luminanceThreshold: 0.179,
  respectReducedMotion: true,
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily:
    '"Inter Variable", system-ui, -apple-system, "Segoe UI", "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Microsoft YaHei", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: "0.75rem", sm: "0.8438rem", md: "0.9063rem", lg: "1.0625rem", xl: "1.3125rem" },
  headings: {
    fontWeight: "640",
    sizes: {
      h1: { fontSize: "1.5rem", lineHeight: "1.25" },
      h2: { fontSize: "1.0313rem", lineHeight: "1.4" },
      h3: { fontSize: "0.9063rem", lineHeight: "1.4" },
    },
  },
  components: {
    Badge: Badge.extend({ defaultProps: { variant: "default", tt: "none", radius: "sm", fw: 550 } }),
    Tooltip: Tooltip.extend({ defaultProps: { events: { hover: true, focus: true, touch: false } } }),
  },
});
