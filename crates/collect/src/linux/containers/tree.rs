//! Where the machine's control groups are, and which of them are containers.
//!
//! One hierarchy with all controllers (v2), one a controller or a few together (v1:
//! `/sys/fs/cgroup/cpu,cpuacct`), or both (hybrid: v1 with v2 at `unified`). What is there tells
//! which (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/cgroups.rst).

use std::{
    fs::Metadata,
    io,
    os::{linux::fs::MetadataExt, unix::fs::DirEntryExt},
    path::{Path, PathBuf},
};

use super::super::cgroup_path;
use crate::{CollectError, Host};

/// A v1 controller that containers are read from, or the v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    Memory,
    Cpuacct,
    Cpu,
    Pids,
    Blkio,
    Unified,
}

impl Hierarchy {
    pub(super) const COUNT: usize = 6;

    /// The first that is mounted is the one that is searched: each engine makes its groups in all.
    const ALL: [Hierarchy; Hierarchy::COUNT] = [
        Hierarchy::Memory,
        Hierarchy::Cpuacct,
        Hierarchy::Cpu,
        Hierarchy::Pids,
        Hierarchy::Blkio,
        Hierarchy::Unified,
    ];

    const fn folder(self) -> &'static str {
        match self {
            Hierarchy::Memory => "memory",
            Hierarchy::Cpuacct => "cpuacct",
            Hierarchy::Cpu => "cpu",
            Hierarchy::Pids => "pids",
            Hierarchy::Blkio => "blkio",
            Hierarchy::Unified => "unified",
        }
    }

    /// A file that shows whether a folder is the top of the machine's own hierarchy. In a namespace
    /// of control groups, or where an engine mounted only a container's part, the top is some
    /// group: that has a type in v2, and no `release_agent` in v1.
    const fn is_whole(self, has_type: bool, has_release_agent: bool) -> bool {
        match self {
            Hierarchy::Unified => !has_type,
            Hierarchy::Memory
            | Hierarchy::Cpuacct
            | Hierarchy::Cpu
            | Hierarchy::Pids
            | Hierarchy::Blkio => has_release_agent,
        }
    }
}

/// Whether the tree of control groups at `base` (`/sys/fs/cgroup`) is the machine's, from its root:
/// inside a container it is usually the container's own part. The error says that there is none.
pub(crate) fn is_machines_tree(base: &Path) -> Result<bool, CollectError> {
    Tree::at(base)?.is_machines()
}

/// The mounted hierarchies.
#[derive(Debug, Default)]
pub(super) struct Tree {
    roots: [Option<PathBuf>; Hierarchy::COUNT],
}

impl Tree {
    pub(super) fn find(host: &Host) -> Result<Tree, CollectError> {
        Tree::at(&host.sys.join("fs/cgroup"))
    }

    fn at(base: &Path) -> Result<Tree, CollectError> {
        let mut tree = Tree::default();
        if base.join("cgroup.controllers").exists() {
            tree.roots[Hierarchy::Unified as usize] = Some(base.to_owned());
            return Ok(tree);
        }
        let failed = |error: &io::Error| CollectError::reading(base, error);
        for entry in std::fs::read_dir(base).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // `cpu,cpuacct` and the links `cpu` and `cpuacct` to it are one folder.
            for part in name.split(',') {
                let Some(hierarchy) = Hierarchy::ALL.into_iter().find(|all| all.folder() == part)
                else {
                    continue;
                };
                tree.roots[hierarchy as usize] = Some(entry.path());
            }
        }
        let has_controllers = |path: &PathBuf| path.join("cgroup.controllers").exists();
        let unified = &mut tree.roots[Hierarchy::Unified as usize];
        *unified = unified.take().filter(has_controllers);
        match tree.searched() {
            Some(_) => Ok(tree),
            None => Err(CollectError::Absent(format!("{} has no control groups", base.display()))),
        }
    }

    pub(super) fn root(&self, hierarchy: Hierarchy) -> Option<&Path> {
        self.roots[hierarchy as usize].as_deref()
    }

    pub(super) fn is_machines(&self) -> Result<bool, CollectError> {
        let (hierarchy, root) = self.searched().expect("`find` gives no tree without a hierarchy");
        let has = |file: &str| match root.join(file).try_exists() {
            Ok(exists) => Ok(exists),
            Err(error) => Err(CollectError::reading(&root.join(file), &error)),
        };
        Ok(hierarchy.is_whole(has("cgroup.type")?, has("release_agent")?))
    }

    /// The hierarchy in which containers are looked for.
    pub(super) fn searched(&self) -> Option<(Hierarchy, &Path)> {
        Hierarchy::ALL.into_iter().find_map(|all| Some((all, self.root(all)?)))
    }

    /// All containers, in order of their paths.
    pub(super) fn containers(&self) -> Result<Search, CollectError> {
        let (_, root) = self.searched().expect("`find` gives no tree without a hierarchy");
        Search::below(root).map_err(|error| CollectError::reading(root, &error))
    }
}

/// A container's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// From the root of the hierarchy, with a slash in front.
    pub(super) path: String,
    /// An engine's id, or the name where the engine has only names.
    pub(super) container: String,
    /// What tells this group from a later one of the same path.
    pub(super) inode: u64,
}

#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) found: Vec<Found>,
    /// How many containers there are beyond [`Search::MOST_CONTAINERS`].
    pub(super) left_out: usize,
    /// Whether there are more folders than are looked into.
    pub(super) is_cut: bool,
}

impl Search {
    pub(super) const MOST_CONTAINERS: usize = 1000;
    const MOST_FOLDERS: usize = 10_000;
    /// A rootless container is below `user.slice/user-N.slice/user@N.service/user.slice`, a pod's
    /// below `kubelet.slice/kubelet-kubepods.slice/…-burstable.slice/…-pod….slice`.
    const MOST_LEVELS: usize = 8;
    /// Units that are never an engine's: they have no groups of their own below them.
    const CHILDLESS: [&str; 4] = [".mount", ".socket", ".swap", ".timer"];

    /// A container's own groups are not searched: a container inside a container is part of it.
    fn below(root: &Path) -> io::Result<Search> {
        let counts_folders = is_made_by_the_kernel(root);
        let mut search = Search::default();
        let mut folders = 0;
        let mut left = vec![(root.to_owned(), String::new(), 0)];
        while let Some((folder, path, level)) = left.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if level == 0 => return Err(error),
                // It went between the listing and the look at it.
                Err(_) => continue,
            };
            let parent = path.rsplit('/').next().unwrap_or_default();
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                if let Some(container) = cgroup_path::container(parent, name) {
                    let (path, container) = (format!("{path}/{name}"), container.to_owned());
                    search.found.push(Found { path, container, inode: entry.ino() });
                    continue;
                }
                let is_childless = Search::CHILDLESS.iter().any(|suffix| name.ends_with(suffix));
                if is_childless || level + 1 >= Search::MOST_LEVELS {
                    continue;
                }
                folders += 1;
                if folders > Search::MOST_FOLDERS {
                    search.is_cut = true;
                    break;
                }
                let inner = entry.path();
                if !(counts_folders && has_no_folders(&inner)) {
                    left.push((inner, format!("{path}/{name}"), level + 1));
                }
            }
        }
        search.found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        search.left_out = search.found.len().saturating_sub(Search::MOST_CONTAINERS);
        search.found.truncate(Search::MOST_CONTAINERS);
        Ok(search)
    }
}

/// Whether a folder is of a mounted hierarchy, and no recording of one.
pub(super) fn is_made_by_the_kernel(folder: &Path) -> bool {
    const CGROUP_SUPER_MAGIC: u32 = 0x0027_e0eb;
    const CGROUP2_SUPER_MAGIC: u32 = 0x6367_7270;
    rustix::fs::statfs(folder)
        .is_ok_and(|stat| matches!(stat.f_type as u32, CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC))
}

/// A group's folder has two links and one more for each group in it (fs/kernfs/inode.c), and a look
/// at that number costs a tenth of a listing. Most groups of a machine are such leaves.
fn has_no_folders(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|metadata: Metadata| metadata.st_nlink() <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    const ID: &str = "4c0f0b7d4f9a1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899aab";

    struct Machine {
        _place: tempfile::TempDir,
        host: Host,
        base: PathBuf,
    }

    impl Machine {
        fn new(files: &[&str]) -> Machine {
            let place = tempfile::tempdir().unwrap();
            let host = Host::recorded(place.path());
            let base = host.sys.join("fs/cgroup");
            std::fs::create_dir_all(&base).unwrap();
            let machine = Machine { _place: place, host, base };
            files.iter().for_each(|file| machine.touch(file));
            machine
        }

        fn touch(&self, file: &str) {
            write(&self.base.join(file), "");
        }

        fn mounted(&self) -> Vec<Hierarchy> {
            let tree = Tree::find(&self.host).unwrap();
            Hierarchy::ALL.into_iter().filter(|all| tree.root(*all).is_some()).collect()
        }

        fn paths(&self) -> Vec<String> {
            let search = Tree::find(&self.host).unwrap().containers().unwrap();
            search.found.into_iter().map(|found| found.path).collect()
        }
    }

    #[test]
    fn what_is_there_tells_the_layout() {
        let v2 = Machine::new(&["cgroup.controllers"]);
        assert_eq!(v2.mounted(), [Hierarchy::Unified]);
        let v1 = Machine::new(&["cpu,cpuacct/tasks", "memory/tasks", "net_cls/tasks"]);
        assert_eq!(v1.mounted(), [Hierarchy::Memory, Hierarchy::Cpuacct, Hierarchy::Cpu]);
        let hybrid = Machine::new(&["pids/tasks", "unified/cgroup.controllers"]);
        assert_eq!(hybrid.mounted(), [Hierarchy::Pids, Hierarchy::Unified]);
        let none = Machine::new(&["unified/x"]);
        assert!(matches!(Tree::find(&none.host), Err(CollectError::Absent(_))));
    }

    #[test]
    fn a_container_s_part_of_the_tree_is_not_the_machine_s() {
        let is_machines = |files: &[&str]| is_machines_tree(&Machine::new(files).base).unwrap();
        assert!(is_machines(&["cgroup.controllers"]));
        assert!(!is_machines(&["cgroup.controllers", "cgroup.type", "cgroup.events"]));
        assert!(is_machines(&["memory/release_agent", "unified/cgroup.controllers"]));
        assert!(!is_machines(&["memory/tasks", "cpu/tasks"]));
        let none = Machine::new(&[]);
        assert!(matches!(is_machines_tree(&none.base), Err(CollectError::Absent(_))));
    }

    #[test]
    fn containers_are_found_at_any_level_and_not_inside_one_another() {
        let user =
            format!("user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope");
        let machine = Machine::new(&[
            "cgroup.controllers",
            "system.slice/nginx.service/cgroup.procs",
            "lxc.payload.web/init.scope/cgroup.procs",
            &format!("docker/{ID}/docker/{ID}/cgroup.procs"),
            &format!("{user}/container/cgroup.procs"),
        ]);
        assert_eq!(
            machine.paths(),
            [format!("/docker/{ID}"), "/lxc.payload.web".to_owned(), format!("/{user}")]
        );
    }

    #[test]
    fn the_search_ends_at_its_bounds() {
        let deep = "a/".repeat(Search::MOST_LEVELS) + "lxc.payload.x/tasks";
        assert_eq!(Machine::new(&["cgroup.controllers", &deep]).paths(), Vec::<String>::new());
        let many = Machine::new(&["cgroup.controllers"]);
        for number in 0..=Search::MOST_CONTAINERS {
            std::fs::create_dir(many.base.join(format!("lxc.payload.{number:05}"))).unwrap();
        }
        let search = Tree::find(&many.host).unwrap().containers().unwrap();
        assert_eq!((search.found.len(), search.left_out), (Search::MOST_CONTAINERS, 1));
    }
}
