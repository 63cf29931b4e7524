import {
  Button,
  Code,
  CopyButton,
  Group,
  PasswordInput,
  Stack,
  Table,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Me } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/Shell";

type Token = { id: string; name: string };
type User = { id: string; username: string; role: string };

export default function SettingsPage() {
  const { t } = useTranslation("users");
  const me = useMe().data;
  const queries = useQueryClient();
  const navigate = useNavigate();
  const signOut = useMutation({
    mutationFn: () => call<void>("DELETE", "/session"),
    onSuccess: () => {
      queries.clear();
      void navigate({ to: "/sign-in", search: {} });
    },
  });
  return (
    <>
      <PageHead title={t("settings")}>
        <Button variant="default" onClick={() => signOut.mutate()}>
          {t("signOut")}
        </Button>
      </PageHead>
      <Stack maw={760}>
        {me && <Password me={me} />}
        <Tokens />
        {me?.role === "admin" && <Users />}
      </Stack>
    </>
  );
}

function Password({ me }: { me: Me }) {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const change = useMutation({
    mutationFn: () => call<Me>("POST", "/session/password", { password, current_password: current || null }),
    onSuccess: (updated) => {
      queries.setQueryData(["me"], updated);
      setCurrent("");
      setPassword("");
      notifications.show({ message: t("passwordChanged") });
    },
  });
  return (
    <form
      className="card"
      onSubmit={(event) => {
        event.preventDefault();
        change.mutate();
      }}
    >
      <Stack>
        <Title order={2}>{t(me.must_set_password ? "setPassword" : "changePassword")}</Title>
        {me.must_set_password && <Text className="muted">{t("setPasswordAbout")}</Text>}
        {!me.must_set_password && (
          <PasswordInput
            label={t("currentPassword")}
            autoComplete="current-password"
            value={current}
            onChange={(event) => setCurrent(event.currentTarget.value)}
          />
        )}
        <PasswordInput
          label={t("newPassword")}
          description={t("passwordHint")}
          autoComplete="new-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        {change.error && <Problem error={change.error} />}
        <Group>
          <Button type="submit" loading={change.isPending} disabled={!password}>
            {t("save")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Tokens() {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const tokens = useQuery({
    queryKey: ["tokens"],
    queryFn: () => call<{ items: Token[] }>("GET", "/tokens"),
  });
  const [name, setName] = useState("");
  const refresh = () => queries.invalidateQueries({ queryKey: ["tokens"] });
  const create = useMutation({
    mutationFn: () => call<Token & { token: string }>("POST", "/tokens", { name }),
    onSuccess: () => {
      setName("");
      void refresh();
    },
  });
  const remove = useMutation({
    mutationFn: (id: string) => call<void>("DELETE", `/tokens/${id}`),
    onSuccess: refresh,
  });
  return (
    <section className="card">
      <Stack>
        <Title order={2}>{t("tokens")}</Title>
        <Text className="muted">{t("tokensAbout")}</Text>
        {tokens.data?.items.map((token) => (
          <Group key={token.id} justify="space-between">
            <Text>{token.name}</Text>
            <Button size="xs" variant="subtle" color="red" onClick={() => remove.mutate(token.id)}>
              {t("revoke")}
            </Button>
          </Group>
        ))}
        {create.data && (
          <Group>
            <Code style={{ overflowWrap: "anywhere" }}>{create.data.token}</Code>
            <CopyButton value={create.data.token}>
              {({ copied, copy }) => (
                <Button size="xs" variant="default" onClick={copy}>
                  {t(copied ? "copied" : "copy")}
                </Button>
              )}
            </CopyButton>
            <Text size="sm">{t("shownOnce")}</Text>
          </Group>
        )}
        {create.error && <Problem error={create.error} />}
        <Group align="flex-end">
          <TextInput
            label={t("tokenName")}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <Button variant="default" disabled={!name.trim()} onClick={() => create.mutate()}>
            {t("createToken")}
          </Button>
        </Group>
      </Stack>
    </section>
  );
}

function Users() {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const users = useQuery({ queryKey: ["users"], queryFn: () => call<{ items: User[] }>("GET", "/users") });
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const create = useMutation({
    mutationFn: () => call<User>("POST", "/users", { username, password, role: "member" }),
    onSuccess: () => {
      setUsername("");
      setPassword("");
      void queries.invalidateQueries({ queryKey: ["users"] });
    },
  });
  return (
    <section className="card">
      <Stack>
        <Title order={2}>{t("users")}</Title>
        <Table>
          <Table.Tbody>
            {users.data?.items.map((user) => (
              <Table.Tr key={user.id}>
                <Table.Td>{user.username}</Table.Td>
                <Table.Td>{t(user.role)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        {create.error && <Problem error={create.error} />}
        <Group align="flex-end">
          <TextInput
            label={t("username")}
            value={username}
            onChange={(event) => setUsername(event.currentTarget.value)}
          />
          <PasswordInput
            label={t("password")}
            w={220}
            autoComplete="new-password"
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
          <Button variant="default" disabled={!username || !password} onClick={() => create.mutate()}>
            {t("addUser")}
          </Button>
        </Group>
      </Stack>
    </section>
  );
}
