import {
  ActionIcon,
  AppShell,
  Burger,
  Group,
  Loader,
  NavLink,
  Text,
  Tooltip,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconBox,
  IconCpu,
  IconDatabase,
  IconHelpCircle,
  IconLanguage,
  IconListDetails,
  IconMoon,
  IconPlus,
  IconSettings,
  IconSun,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Navigate, Outlet, useLocation } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ApiProblem, call } from "../api/client";
import type { Me } from "../api/types";
import { setLanguage } from "../i18n";
import { Problem } from "./Problem";

const LINKS = [
  { to: "/", label: "jobs", icon: IconListDetails },
  { to: "/new", label: "new", icon: IconPlus },
  { to: "/datasets", label: "datasets", icon: IconDatabase },
  { to: "/models", label: "models", icon: IconBox },
  { to: "/machines", label: "machines", icon: IconCpu },
  { to: "/why", label: "why", icon: IconHelpCircle },
  { to: "/settings", label: "settings", icon: IconSettings },
] as const;

export function useMe() {
  return useQuery({ queryKey: ["me"], queryFn: () => call<Me>("GET", "/session"), staleTime: 60_000 });
}

export function Shell() {
  const { t, i18n } = useTranslation("shell");
  const [opened, { toggle, close }] = useDisclosure();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const path = useLocation({ select: (location) => location.pathname });
  const me = useMe();
  if (me.error instanceof ApiProblem && me.error.status === 401)
    return <Navigate to="/sign-in" search={{}} />;
  const dark =
    colorScheme === "dark" ||
    (colorScheme === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 230, breakpoint: "sm", collapsed: { mobile: !opened } }}
      padding="md"
    >
      <a className="skip-link" href="#content">
        {t("skip")}
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={t("menu")} />
            <img src="/favicon.svg" alt="" width={26} height={26} />
            <Text fw={700} fz="lg">
              Tunescope
            </Text>
          </Group>
          <Group gap={6} wrap="nowrap">
            <Tooltip label={i18n.language === "en" ? "中文" : "English"}>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={i18n.language === "en" ? "切换到中文" : "Switch to English"}
                onClick={() => setLanguage(i18n.language === "en" ? "zh-CN" : "en")}
              >
                <IconLanguage size={20} />
              </ActionIcon>
            </Tooltip>
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={t(dark ? "light" : "dark")}
              onClick={() => setColorScheme(dark ? "light" : "dark")}
            >
              {dark ? <IconSun size={20} /> : <IconMoon size={20} />}
            </ActionIcon>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" aria-label={t("navigation")}>
        {LINKS.map(({ to, label, icon: Icon }) => (
          <NavLink
            key={to}
            component={Link}
            to={to}
            label={t(label)}
            leftSection={<Icon size={18} aria-hidden />}
            active={to === "/" ? path === "/" || path.startsWith("/jobs/") : path.startsWith(to)}
            onClick={close}
            style={{ borderRadius: 8 }}
          />
        ))}
        {me.data && (
          <Text className="muted" size="sm" mt="auto" p="xs">
            {me.data.username}
          </Text>
        )}
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        {me.isPending ? (
          <Loader aria-label={t("loading")} />
        ) : me.error ? (
          <Problem error={me.error} />
        ) : (
          <Outlet />
        )}
      </AppShell.Main>
    </AppShell>
  );
}
