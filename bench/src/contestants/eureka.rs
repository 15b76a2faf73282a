//! Spring Cloud Netflix Eureka, built by Maven from `conformance/eureka/server`, which has its
//! version.
//!
//! Answers come from its read-only cache, as it is shipped; the cache looks for changes ten times a
//! second, so that a run does not wait half a minute to find what it registered.

use std::path::{Path, PathBuf};

use super::eureka_api;
use crate::Result;
use crate::contestant::{
    Addresses, Connection, Contestant, Deed, Doing, Instance, Kind, Plan, Service,
};
use crate::install;
use crate::process::{Launch, free_ports};

/// Eureka's server.
pub(crate) struct Eureka;

const PROJECT: &str = "conformance/eureka/server";
const OPTIONS: [&str; 5] = [
    "--eureka.server.use-read-only-response-cache=true",
    "--eureka.server.response-cache-update-interval-ms=100",
    // Tomcat would close each connection after a hundred requests.
    "--server.tomcat.max-keep-alive-requests=-1",
    "--logging.level.root=warn",
    "--spring.main.banner-mode=off",
];

impl Contestant for Eureka {
    fn name(&self) -> &str {
        "Eureka"
    }

    fn can(&self, kind: Kind) -> bool {
        eureka_api::can(kind)
    }

    fn install(&self) -> Result<String> {
        install::maven(Path::new(PROJECT), "server-1.jar")?;
        let project = std::fs::read_to_string(Path::new(PROJECT).join("pom.xml"))?;
        let after = project.split("spring-cloud-dependencies</artifactId><version>").nth(1);
        let version = after.and_then(|rest| rest.split('<').next());
        Ok(format!("Spring Cloud {}", version.unwrap_or("of its pom.xml")))
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let program = std::path::absolute(install::maven(Path::new(PROJECT), "server-1.jar")?)?;
        let ports = free_ports(folders.len())?;
        let plan = |(folder, port): (&PathBuf, &u16)| {
            let mut arguments = vec!["-jar".to_string(), program.display().to_string()];
            arguments.extend(OPTIONS.map(String::from));
            let environment = vec![("PORT".into(), port.to_string())];
            let (program, folder) = ("/usr/bin/java".into(), folder.clone());
            let addresses = Addresses::from([("eureka".into(), ([127, 0, 0, 1], *port).into())]);
            Plan {
                launch: Launch { program, arguments, environment, folder },
                addresses,
                ready_file: None,
            }
        };
        Ok(folders.iter().zip(&ports).map(plan).collect())
    }

    fn first_deed(&self) -> Deed {
        Deed::Register(Instance { service: Service::Fleet(0), number: 0, version: 0 })
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(eureka_api::connect(to))
    }
}
