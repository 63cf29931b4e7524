import {
  ActionIcon,
  Box,
  Group,
  Text,
  Tooltip,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { IconKeyboard, IconLanguage, IconMoon, IconSun } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { setLanguage } from "../i18n";
import { useMe } from "./server";

/** Who is signed in, and how the page looks and speaks. */
export function Preferences({ help }: { help: () => void }) {
  const { t, i18n } = useTranslation("shell");
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  const me = useMe().data;
  const english = i18n.language === "en";
  const buttons = [
    {
      key: "language",
      label: english ? "切换到中文" : "Switch to English",
      icon: IconLanguage,
      act: () => setLanguage(english ? "zh-CN" : "en"),
    },
    {
      key: "colours",
      label: t(dark ? "light" : "dark"),
      icon: dark ? IconSun : IconMoon,
      act: () => setColorScheme(dark ? "light" : "dark"),
    },
    { key: "shortcuts", label: t("shortcuts"), icon: IconKeyboard, act: help },
  ];
  return (
    <Box mt="auto" pt="sm" style={{ borderTop: "1px solid var(--line)" }}>
      {me && (
        <Text className="muted" size="sm" px={8} truncate>
          {me.username}
        </Text>
      )}
      <Group gap={4} px={2} mt={4}>
        {buttons.map(({ key, label, icon: Icon, act }) => (
          <Tooltip key={key} label={label}>
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={label} onClick={act}>
              <Icon size={19} stroke={1.7} />
            </ActionIcon>
          </Tooltip>
        ))}
      </Group>
    </Box>
  );
}
