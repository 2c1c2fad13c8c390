//! Serial devices from the wire to the normal form: simulated devices on real pseudo-terminals at
//! their real baud rate, the real link, the real drivers, and a session no cleverer than it must be.

#![cfg(feature = "lab")]
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a session in real time needs a clock and a task")]

mod alaris_asena;
mod astm_lis;
mod bbraun_bcc;
mod draeger_medibus;
mod fresenius_base_a;
mod hospira_plum_aplus;
mod hostile;
mod maquet_servo_i;
mod masimo_ascii1;
mod nellcor;
mod nonin;
mod philips_intellivue;
mod puritan_bennett_840;
mod site_line;
mod support;
mod vectors;
