import { Button, Group, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem, answer, api } from "../../api/client";
import type { Me } from "../../api/types";
import { Problem } from "../../ui/Problem";

/** Sets the first password after a sign-in link, or changes it. */
export function Password({ me }: { me: Me }) {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const change = useMutation({
    mutationFn: () =>
      answer(api.POST("/api/session/password", { body: { password, current_password: current || null } })),
    onSuccess: (updated) => {
      queries.setQueryData(["me"], updated);
      setCurrent("");
      setPassword("");
      notifications.show({ message: t("passwordChanged") });
      if (me.must_set_password) void navigate({ to: "/" });
    },
  });
  const problem = change.error instanceof ApiProblem ? change.error : undefined;
  const wrong = problem?.field("password");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    change.mutate();
  };
  return (
    <form className="card" onSubmit={submit}>
      <Stack>
        <Title order={2}>{t(me.must_set_password ? "setPassword" : "changePassword")}</Title>
        {me.must_set_password && <Text className="muted">{t("setPasswordAbout")}</Text>}
        {!me.must_set_password && (
          <PasswordInput
            label={t("currentPassword")}
            autoComplete="current-password"
            value={current}
            error={problem?.field("current_password")}
            onChange={(event) => setCurrent(event.currentTarget.value)}
          />
        )}
        <PasswordInput
          label={t("newPassword")}
          description={t("passwordHint")}
          autoComplete="new-password"
          value={password}
          error={wrong}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        {change.error && !wrong && <Problem error={change.error} />}
        <Group>
          <Button type="submit" loading={change.isPending} disabled={!password}>
            {t("save")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
