import { Button, Center, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Me } from "../../api/types";
import { Problem } from "../../ui/Problem";

/** Sign in by username and password, or by the one-time link that the server printed. */
export function SignInPage() {
  const { t } = useTranslation("users");
  const { token } = useSearch({ from: "/sign-in" });
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const navigate = useNavigate();
  const queries = useQueryClient();
  const signIn = useMutation({
    mutationFn: () => call<Me>("POST", "/session", token ? { sign_in_token: token } : { username, password }),
    onSuccess: (me) => {
      queries.setQueryData(["me"], me);
      void navigate({ to: me.must_set_password ? "/settings" : "/" });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn.mutate();
  };
  return (
    <Center component="main" mih="100vh" p="md">
      <form onSubmit={submit} className="card" style={{ width: 380, maxWidth: "100%" }}>
        <Stack>
          <img src="/favicon.svg" alt="" width={40} height={40} />
          <Title order={1}>{t("signInTitle")}</Title>
          {token ? (
            <Text className="muted">{t("linkAbout")}</Text>
          ) : (
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
        </Stack>
      </form>
    </Center>
  );
}
