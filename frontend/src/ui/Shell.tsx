import { AppShell, Burger, Button, Group, NavLink, Skeleton, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconBox,
  IconCpu,
  IconDatabase,
  IconListDetails,
  IconPlus,
  IconScale,
  IconSettings,
  IconTarget,
} from "@tabler/icons-react";
import { Link, Navigate, Outlet, useLocation } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem } from "../api/client";
import { Preferences } from "./Preferences";
import { Problem } from "./Problem";
import { Shortcuts } from "./Shortcuts";
import { useMe, useOffline } from "./server";

const LINKS = [
  { to: "/", label: "jobs", icon: IconListDetails },
  { to: "/why", label: "why", icon: IconScale },
  { to: "/datasets", label: "datasets", icon: IconDatabase },
  { to: "/models", label: "models", icon: IconBox },
  { to: "/machines", label: "machines", icon: IconCpu },
  { to: "/accuracy", label: "accuracy", icon: IconTarget },
  { to: "/settings", label: "settings", icon: IconSettings },
] as const;

/** The frame of every page: where one is, where one can go, and whether the server is there. */
export function Shell() {
  const { t } = useTranslation("shell");
  const menu = useMenu();
  const [helping, { open: help, close: helped }] = useDisclosure();
  const path = useLocation({ select: (location) => location.pathname });
  const me = useMe();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page begins at its top, with the menu closed
  useEffect(() => {
    menu.close();
    window.scrollTo(0, 0);
  }, [path]);
  if (me.error instanceof ApiProblem && me.error.status === 401) return <ToSignIn />;
  return (
    <AppShell
      layout="alt"
      header={{ height: { base: 52, sm: 0 } }}
      navbar={{ width: 232, breakpoint: "sm", collapsed: { mobile: !menu.opened } }}
      padding={{ base: "md", sm: "lg" }}
    >
      <a className="skip-link" href="#content">
        {t("skip")}
      </a>
      <AppShell.Header hiddenFrom="sm">
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Wordmark />
          <Burger
            ref={menu.opener}
            opened={menu.opened}
            onClick={menu.open}
            size="sm"
            aria-label={t("menu")}
            aria-expanded={menu.opened}
          />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar
        p="sm"
        aria-label={t("navigation")}
        onKeyDown={(event) => event.key === "Escape" && menu.leave()}
      >
        <Group justify="space-between" px={8} pt={6} pb="md">
          <Wordmark />
          <Burger
            ref={menu.closer}
            opened
            hiddenFrom="sm"
            onClick={menu.leave}
            size="sm"
            aria-label={t("closeMenu")}
          />
        </Group>
        <Button
          component={Link}
          to="/new"
          onClick={menu.close}
          mb="md"
          variant="light"
          leftSection={<IconPlus size={16} aria-hidden />}
          aria-current={path === "/new" ? "page" : undefined}
        >
          {t("new")}
        </Button>
        {LINKS.map(({ to, label, icon: Icon }) => {
          const active =
            to === "/"
              ? path === "/" || path === "/losses" || path.startsWith("/jobs/")
              : path.startsWith(to);
          return (
            <NavLink
              key={to}
              component={Link}
              to={to}
              onClick={menu.close}
              label={t(label)}
              leftSection={<Icon size={18} stroke={1.7} aria-hidden />}
              active={active}
              aria-current={active ? "page" : undefined}
            />
          );
        })}
        <Preferences help={help} />
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <div className="content">
          <Offline />
          {me.isPending ? (
            <Loading />
          ) : me.error && !me.data ? (
            <Problem error={me.error} retry={me.refetch} />
          ) : (
            <Outlet />
          )}
        </div>
      </AppShell.Main>
      <Shortcuts opened={helping} setOpened={(wanted) => (wanted ? help() : helped())} />
    </AppShell>
  );
}

/** The menu of a narrow screen, which covers the page: the keyboard's place goes into it, and back when it is left. */
function useMenu() {
  const [opened, { open, close }] = useDisclosure();
  const opener = useRef<HTMLButtonElement>(null);
  const closer = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (opened) closer.current?.focus();
  }, [opened]);
  const leave = () => {
    if (!opened) return;
    close();
    opener.current?.focus();
  };
  return { opened, open, close, leave, opener, closer };
}

/** Leads to the sign-in and remembers where from; at its first drawing, since the location changes while it leads. */
function ToSignIn() {
  const from = useLocation({ select: (location) => location.href });
  const [next] = useState(from === "/" ? undefined : from);
  return <Navigate to="/sign-in" search={{ next }} replace />;
}

function Wordmark() {
  return (
    <Link to="/" className="wordmark">
      <img src="/favicon.svg" alt="" width={26} height={26} />
      Tunescope
    </Link>
  );
}

/** The shape of a page before its first answer. */
function Loading() {
  const { t } = useTranslation("shell");
  return (
    <Stack role="status" aria-label={t("loading")}>
      <Skeleton height={32} width={220} />
      <Skeleton height={120} />
      <Skeleton height={220} />
    </Stack>
  );
}

function Offline() {
  const { t } = useTranslation("shell");
  const offline = useOffline();
  return <div role="status">{offline && <div className="offline">{t("offline")}</div>}</div>;
}
