import { Button, Stack } from "@mantine/core";
import { IconLogout } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import { PageHead } from "../../ui/PageHead";
import { useMe } from "../../ui/server";
import { Password } from "./Password";
import { Tokens } from "./Tokens";
import { Users } from "./Users";

export default function SettingsPage() {
  const { t } = useTranslation("users");
  const me = useMe().data;
  const queries = useQueryClient();
  const navigate = useNavigate();
  const signOut = useMutation({
    mutationFn: () => answer(api.DELETE("/api/session")),
    onSuccess: () => {
      queries.clear();
      // The job being made and the ticked ones are nothing for whoever signs in next; a session that merely ran out keeps them.
      sessionStorage.clear();
      void navigate({ to: "/sign-in", search: {} });
    },
  });
  return (
    <>
      <PageHead title={t("settings")} about={me && t("signedInAs", { name: me.username, role: t(me.role) })}>
        <Button
          variant="default"
          leftSection={<IconLogout size={16} aria-hidden />}
          onClick={() => signOut.mutate()}
        >
          {t("signOut")}
        </Button>
      </PageHead>
      <Stack maw={820}>
        {me && <Password me={me} />}
        {me && !me.must_set_password && <Tokens />}
        {me?.role === "admin" && !me.must_set_password && <Users me={me} />}
      </Stack>
    </>
  );
}
