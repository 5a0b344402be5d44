//! What the path of a control group says: which systemd unit and which container it is of.
//!
//! Container engines and systemd name the groups they make, and nothing else tells whose a process
//! is without asking them: `docker-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope` and
//! `cri-containerd-<id>.scope` where systemd makes the groups, a plain `<id>` below `docker` or
//! `kubepods` where the engine does, `<slice>:<engine>:<id>` where the engine does and was given a
//! path meant for systemd, `lxc.payload.<name>` and `machine-<name>.scope` elsewhere.

/// Both borrowed from the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// The innermost unit (`nginx.service`), escaped as systemd escapes it; none for a scope that
    /// is but a container's.
    pub(crate) unit: Option<&'a str>,
    /// An engine's id (64 hexadecimal digits), or a name where the engine has only names.
    pub(crate) container: Option<&'a str>,
    /// The part of the path that ends with the container's own group.
    pub(crate) container_path: Option<&'a str>,
}

/// `/system.slice/docker-4c….scope/init` → the container `4c…`.
pub(crate) fn place(path: &str) -> Place<'_> {
    let mut place = Place::default();
    let mut parent = "";
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        if let Some(container) = container(parent, part) {
            place.container = Some(container);
            place.container_path = path.get(..end);
            place.unit = None;
        } else if is_unit(part) {
            place.unit = Some(part);
        }
        // The slash behind the part.
        end += 1;
        parent = part;
    }
    place
}

/// All containers on the path, the outermost first.
pub(super) fn containers(path: &str) -> impl Iterator<Item = &str> {
    let parents = std::iter::once("").chain(path.split('/'));
    parents.zip(path.split('/')).filter_map(|(parent, part)| container(parent, part))
}

const UNIT_SUFFIXES: [&str; 2] = [".service", ".scope"];
/// What engines put before the id in the names of their scopes. Their monitors
/// (`libpod-conmon-<id>.scope`) are no containers: what follows is not an id.
const ENGINES: [&str; 5] = ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"];
const ID_DIGITS: usize = 64;

fn is_unit(part: &str) -> bool {
    UNIT_SUFFIXES.iter().any(|suffix| part.len() > suffix.len() && part.ends_with(suffix))
}

/// The container whose own group `part` is, in the group `parent`.
pub(super) fn container<'a>(parent: &str, part: &'a str) -> Option<&'a str> {
    if is_id(part) {
        return Some(part);
    }
    if let Some((_, id)) = part.rsplit_once(':') {
        return Some(id).filter(|id| is_id(id));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(name).filter(|name| !name.is_empty());
    }
    if parent == "lxc" && !part.is_empty() {
        return Some(part);
    }
    if let Some(name) = part.strip_prefix("systemd-nspawn@") {
        return name.strip_suffix(".service");
    }
    let scope = part.strip_suffix(".scope")?;
    if parent == "machine.slice"
        && let Some(name) = scope.strip_prefix("machine-")
    {
        // libvirt puts its virtual machines there too: those are no containers.
        return Some(name).filter(|name| !name.starts_with(r"qemu\x2d"));
    }
    ENGINES.iter().find_map(|engine| scope.strip_prefix(engine)).filter(|id| is_id(id))
}

/// Whether it is an engine's id, and not a name.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4c0f0b7d4f9a1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899aab";

    #[test]
    fn each_engine_s_groups_are_known_by_their_names() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods/besteffort/pod0b4e5bd5-0c55-4a12-9b75-6d1f1a2b3c4d/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope"),
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
        ] {
            let found = place(&path);
            assert_eq!(
                found,
                Place { unit: None, container: Some(ID), container_path: Some(&path) }
            );
        }
        assert_eq!(place("/lxc.payload.web/init.scope").container, Some("web"));
        assert_eq!(place("/lxc/web").container, Some("web"));
        assert_eq!(place("/machine.slice/systemd-nspawn@db.service/payload").container, Some("db"));
        assert_eq!(place("/machine.slice/machine-db.scope").container, Some("db"));
    }

    #[test]
    fn a_path_meant_for_systemd_is_a_container_s_all_the_same() {
        let path = format!(
            "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}"
        );
        assert_eq!(place(&path).container, Some(ID));
        assert_eq!(place("/a:b:c").container, None);
    }

    #[test]
    fn containers_in_containers_are_named_from_the_outermost() {
        let path = format!("/lxc.payload.box/docker/{ID}/init");
        assert_eq!(containers(&path).collect::<Vec<_>>(), ["box", ID]);
        assert_eq!(containers("/system.slice").count(), 0);
    }

    #[test]
    fn a_virtual_machine_is_no_container() {
        let scope = r"machine-qemu\x2d1\x2dweb.scope";
        let path = format!("/machine.slice/{scope}");
        assert_eq!(place(&path), Place { unit: Some(scope), ..Place::default() });
    }

    #[test]
    fn the_innermost_unit_counts_and_slices_are_none() {
        assert_eq!(place("/system.slice/nginx.service").unit, Some("nginx.service"));
        let nested = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.scope";
        assert_eq!(place(nested).unit, Some("app-firefox.scope"));
        assert_eq!(place("/user.slice"), Place::default());
        assert_eq!(place("/"), Place::default());
        assert_eq!(place(""), Place::default());
    }

    #[test]
    fn what_runs_inside_a_container_keeps_both() {
        let own = format!("/system.slice/docker-{ID}.scope");
        let path = format!("{own}/system.slice/cron.service");
        let expected =
            Place { unit: Some("cron.service"), container: Some(ID), container_path: Some(&own) };
        assert_eq!(place(&path), expected);
    }

    #[test]
    fn an_engine_s_monitor_is_a_unit_and_no_container() {
        let name = format!("libpod-conmon-{ID}.scope");
        let path = format!("/machine.slice/{name}");
        assert_eq!(place(&path), Place { unit: Some(&name), ..Place::default() });
        assert_eq!(place("/docker/not-an-id").container, None);
    }
}
