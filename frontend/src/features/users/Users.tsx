import {
  Button,
  Group,
  PasswordInput,
  Select,
  Skeleton,
  Stack,
  Table,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem, answer, api } from "../../api/client";
import type { Me, User } from "../../api/types";
import { useConfirm } from "../../ui/confirm";
import { Problem } from "../../ui/Problem";
import { formatDate } from "../../units";

export function Users({ me }: { me: Me }) {
  const { t } = useTranslation("users");
  const users = useQuery({ queryKey: ["users"], queryFn: () => answer(api.GET("/api/users")) });
  return (
    <section className="card">
      <Stack>
        <div>
          <Title order={2}>{t("users")}</Title>
          <Text className="muted" size="sm">
            {t("usersAbout")}
          </Text>
        </div>
        {users.error && <Problem error={users.error} retry={users.refetch} />}
        {users.isPending && <Skeleton height={60} />}
        {users.data && (
          <Table>
            <Table.Tbody>
              {users.data.items.map((user) => (
                <UserRow key={user.id} user={user} self={user.id === me.id} />
              ))}
            </Table.Tbody>
          </Table>
        )}
        <AddUser />
      </Stack>
    </section>
  );
}

function UserRow({ user, self }: { user: User; self: boolean }) {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const confirm = useConfirm();
  const remove = useMutation({
    mutationFn: () => answer(api.DELETE("/api/users/{user_id}", { params: { path: { user_id: user.id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["users"] }),
  });
  return (
    <Table.Tr>
      <Table.Td>
        <Text fw={550}>
          {user.username} {self && <span className="muted">{t("you")}</span>}
        </Text>
        <Text size="xs" className="muted">
          {t(user.role)} · {t("since", { date: formatDate(user.created_at) })}
        </Text>
        {remove.error && <Problem error={remove.error} />}
      </Table.Td>
      <Table.Td ta="right">
        {!self && (
          <Button
            size="xs"
            variant="subtle"
            color="red"
            aria-label={t("removeUser", { name: user.username })}
            onClick={() =>
              confirm({
                title: t("removeTitle", { name: user.username }),
                about: t("removeAbout"),
                act: t("remove"),
                onConfirm: () => remove.mutate(),
              })
            }
          >
            {t("remove")}
          </Button>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

const NOBODY = { username: "", password: "", role: "member" as "member" | "admin" };

function AddUser() {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const [entered, setEntered] = useState(NOBODY);
  const create = useMutation({
    mutationFn: () => answer(api.POST("/api/users", { body: entered })),
    onSuccess: () => {
      setEntered(NOBODY);
      void queries.invalidateQueries({ queryKey: ["users"] });
    },
  });
  const problem = create.error instanceof ApiProblem ? create.error : undefined;
  const atField = problem?.field("username") ?? problem?.field("password");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        {create.error && !atField && <Problem error={create.error} />}
        <Group align="flex-start">
          <TextInput
            label={t("username")}
            w={220}
            autoComplete="off"
            value={entered.username}
            error={problem?.field("username")}
            onChange={(event) => setEntered({ ...entered, username: event.currentTarget.value })}
          />
          <PasswordInput
            label={t("firstPassword")}
            w={220}
            autoComplete="new-password"
            value={entered.password}
            error={problem?.field("password")}
            onChange={(event) => setEntered({ ...entered, password: event.currentTarget.value })}
          />
          <Select
            label={t("role")}
            w={130}
            allowDeselect={false}
            data={(["member", "admin"] as const).map((value) => ({ value, label: t(value) }))}
            value={entered.role}
            onChange={(role) => setEntered({ ...entered, role: role === "admin" ? "admin" : "member" })}
          />
          <Button
            type="submit"
            variant="default"
            mt={22}
            loading={create.isPending}
            disabled={!entered.username || !entered.password}
          >
            {t("addUser")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
