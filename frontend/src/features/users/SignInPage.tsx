import { Button, Center, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import { setLanguage } from "../../i18n";
import { Problem } from "../../ui/Problem";

/** Sign in by username and password, or by the one-time link that the server printed. */
export function SignInPage() {
  const { t, i18n } = useTranslation("users");
  const { token, next } = useSearch({ from: "/sign-in" });
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const navigate = useNavigate();
  const router = useRouter();
  const queries = useQueryClient();
  useDocumentTitle(`${t("signIn")} · Tunescope`);
  const signIn = useMutation({
    mutationFn: () =>
      answer(api.POST("/api/session", { body: token ? { sign_in_token: token } : { username, password } })),
    onSuccess: (me) => {
      queries.setQueryData(["me"], me);
      // An address with its search as it was, which navigate() would take for a path.
      if (next?.startsWith("/api/") && !me.must_set_password) window.location.replace(next);
      else if (next && !me.must_set_password) router.history.replace(next);
      else void navigate({ to: me.must_set_password ? "/settings" : "/" });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn.mutate();
  };
  const english = i18n.language === "en";
  return (
    <Center component="main" mih="100vh" p="md">
      <Stack w={400} maw="100%">
        <form onSubmit={submit} className="card" style={{ padding: 32 }}>
          <Stack>
            <Group gap="sm">
              <img src="/favicon.svg" alt="" width={36} height={36} />
              <Title order={1}>{t("signInTitle")}</Title>
            </Group>
            <Text className="muted">{t(token ? "linkAbout" : "signInAbout")}</Text>
            {!token && (
              <>
                <TextInput
                  label={t("username")}
                  autoComplete="username"
                  required
                  value={username}
                  onChange={(event) => setUsername(event.currentTarget.value)}
                />
                <PasswordInput
                  label={t("password")}
                  autoComplete="current-password"
                  required
                  value={password}
                  onChange={(event) => setPassword(event.currentTarget.value)}
                />
              </>
            )}
            {signIn.error && <Problem error={signIn.error} />}
            <Button type="submit" loading={signIn.isPending}>
              {t("signIn")}
            </Button>
            {!token && (
              <Text size="xs" className="muted">
                {t("firstTime")}
              </Text>
            )}
          </Stack>
        </form>
        <Group justify="center">
          <Button
            variant="subtle"
            color="gray"
            size="xs"
            onClick={() => setLanguage(english ? "zh-CN" : "en")}
          >
            {english ? "中文" : "English"}
          </Button>
        </Group>
      </Stack>
    </Center>
  );
}
