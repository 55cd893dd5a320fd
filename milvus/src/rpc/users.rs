//! Users, roles, privileges and groups of them. Passwords come in base64, as Milvus' clients send them.

use elanus_collection::Grant;
use elanus_collection::access::{ANY, Level, Privilege, ROOT, from_base64, group, group_level, group_names};
use milvus::proto::common;
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::door::Door;
use crate::status::{Code, Error, Result};

fn password(given: &str) -> Result<String> {
    from_base64(given).ok_or_else(|| Error::invalid("decode password fail: a password is sent in base64"))
}

pub(crate) async fn create_user(
    door: &Door,
    _context: &Context,
    request: wire::CreateCredentialRequest,
) -> Result<common::Status> {
    let password = password(&request.password)?;
    let description = request.description.unwrap_or_default();
    door.collections()
        .create_user(&request.username, &password, &description)
        .await?;
    Ok(common::Status::default())
}

/// Who changes their own password, or that of another user without the right to, gives the old one.
pub(crate) async fn update_user(
    door: &Door,
    context: &Context,
    request: wire::UpdateCredentialRequest,
) -> Result<common::Status> {
    let name = request.username.as_str();
    let new = password(&request.new_password)?;
    let of_another = context.user().is_some_and(|user| user != name);
    if !of_another || !request.old_password.is_empty() {
        let old = password(&request.old_password)?;
        let checked = door.collections().authenticate(name, &old).await;
        checked.map_err(|_| {
            Error::new(
                Code::NotAuthenticated,
                format!("old password not correct:{name}: not authenticated"),
            )
        })?;
    }
    door.collections().change_password(name, &new).await?;
    if let Some(description) = &request.description {
        door.collections().describe_user(name, description).await?;
    }
    Ok(common::Status::default())
}

/// What is not there is gone already, as in Milvus.
pub(crate) async fn delete_user(
    door: &Door,
    _context: &Context,
    request: wire::DeleteCredentialRequest,
) -> Result<common::Status> {
    door.collections().drop_user(&request.username).await?;
    Ok(common::Status::default())
}

pub(crate) fn list_users(
    door: &Door,
    _context: &Context,
    _request: &wire::ListCredUsersRequest,
) -> Result<wire::ListCredUsersResponse> {
    let usernames = door
        .collections()
        .users()
        .into_iter()
        .map(|user| user.name)
        .collect();
    Ok(wire::ListCredUsersResponse {
        status: None,
        usernames,
    })
}

pub(crate) async fn create_role(
    door: &Door,
    _context: &Context,
    request: wire::CreateRoleRequest,
) -> Result<common::Status> {
    let role = request.entity.unwrap_or_default();
    door.collections()
        .create_role(&role.name, &role.description)
        .await?;
    Ok(common::Status::default())
}

pub(crate) async fn alter_role(
    door: &Door,
    _context: &Context,
    request: wire::AlterRoleRequest,
) -> Result<common::Status> {
    door.collections()
        .describe_role(&request.role_name, &request.description)
        .await?;
    Ok(common::Status::default())
}

pub(crate) async fn drop_role(
    door: &Door,
    _context: &Context,
    request: wire::DropRoleRequest,
) -> Result<common::Status> {
    let name = &request.role_name;
    if !door.collections().drop_role(name, request.force_drop).await? {
        return Err(Error::invalid(format!("not found the role: {name}")));
    }
    Ok(common::Status::default())
}

pub(crate) async fn operate_user_role(
    door: &Door,
    _context: &Context,
    request: wire::OperateUserRoleRequest,
) -> Result<common::Status> {
    let member = match wire::OperateUserRoleType::try_from(request.r#type) {
        Ok(wire::OperateUserRoleType::AddUserToRole) => true,
        Ok(wire::OperateUserRoleType::RemoveUserFromRole) => false,
        Err(_) => {
            return Err(Error::invalid(format!(
                "unknown operation on a role: {}",
                request.r#type
            )));
        }
    };
    door.collections()
        .change_membership(&request.username, &request.role_name, member)
        .await?;
    Ok(common::Status::default())
}

fn role_entity(name: &str) -> wire::RoleEntity {
    wire::RoleEntity {
        name: name.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn select_role(
    door: &Door,
    _context: &Context,
    request: &wire::SelectRoleRequest,
) -> Result<wire::SelectRoleResponse> {
    let mut roles = door.collections().roles();
    if let Some(wanted) = &request.role {
        roles.retain(|role| role.name == wanted.name);
        if roles.is_empty() {
            return Err(Error::invalid(format!("not found the role: {}", wanted.name)));
        }
    }
    let results = roles.into_iter().map(|role| wire::RoleResult {
        users: if request.include_user_info {
            role.users
                .into_iter()
                .map(|name| wire::UserEntity { name })
                .collect()
        } else {
            Vec::new()
        },
        role: Some(wire::RoleEntity {
            name: role.name,
            description: role.description,
        }),
    });
    Ok(wire::SelectRoleResponse {
        status: None,
        results: results.collect(),
    })
}

pub(crate) fn select_user(
    door: &Door,
    _context: &Context,
    request: &wire::SelectUserRequest,
) -> Result<wire::SelectUserResponse> {
    let mut users = door.collections().users();
    if let Some(wanted) = &request.user {
        users.retain(|user| user.name == wanted.name);
    }
    let results = users.into_iter().map(|user| wire::UserResult {
        roles: if request.include_role_info {
            user.roles.iter().map(|role| role_entity(role)).collect()
        } else {
            Vec::new()
        },
        user: Some(wire::UserEntity { name: user.name }),
        description: user.description,
    });
    Ok(wire::SelectUserResponse {
        status: None,
        results: results.collect(),
    })
}

fn grantor(context: &Context) -> String {
    context.user().unwrap_or(ROOT).to_owned()
}

async fn change_grant(door: &Door, grant: Grant, operation: i32) -> Result<common::Status> {
    match wire::OperatePrivilegeType::try_from(operation) {
        Ok(wire::OperatePrivilegeType::Grant) => door.collections().grant(grant).await?,
        Ok(wire::OperatePrivilegeType::Revoke) => {
            door.collections().revoke(grant).await?;
        }
        Err(_) => {
            return Err(Error::invalid(format!(
                "unknown operation on a privilege: {operation}"
            )));
        }
    }
    Ok(common::Status::default())
}

/// The older form: a privilege on an object of a type. `*` is every privilege that the type has.
pub(crate) async fn operate_privilege(
    door: &Door,
    context: &Context,
    request: wire::OperatePrivilegeRequest,
) -> Result<common::Status> {
    let entity = request.entity.unwrap_or_default();
    let object = entity.object.unwrap_or_default().name;
    let privilege = entity
        .grantor
        .unwrap_or_default()
        .privilege
        .unwrap_or_default()
        .name;
    let name = entity.object_name.as_str();
    if privilege == ANY {
        return Err(Error::unsupported(
            "every privilege of an object type at once (privilege=*): grant a group, such as CollectionAdmin",
        ));
    }
    let level = match Privilege::named(&privilege) {
        Some(known) if known.object_type() == object || (object == "Global" && name == ANY) => {
            Some(known.level())
        }
        Some(known) => {
            return Err(Error::invalid(format!(
                "the privilege {privilege} is one of the object type {}, not {object}",
                known.object_type()
            )));
        }
        None => group_level(&privilege),
    };
    if !["Collection", "Global", "User"].contains(&object.as_str()) {
        return Err(Error::invalid(format!(
            "not found the object type[name={object}], supported the object types: [Global,Collection,User]"
        )));
    }
    if object != "Collection" && name != ANY {
        return Err(Error::unsupported(format!(
            "privileges on one {object} (object_name={name}): give *"
        )));
    }
    let database = match level {
        // The server is not in a database.
        Some(Level::Cluster) => ANY,
        _ => context.database(&entity.db_name),
    };
    let grant = Grant {
        role: entity.role.unwrap_or_default().name,
        database: database.to_owned(),
        collection: entity.object_name.clone(),
        privilege,
        grantor: grantor(context),
    };
    change_grant(door, grant, request.r#type).await
}

pub(crate) async fn operate_privilege_v2(
    door: &Door,
    context: &Context,
    request: wire::OperatePrivilegeV2Request,
) -> Result<common::Status> {
    let privilege = request
        .grantor
        .unwrap_or_default()
        .privilege
        .unwrap_or_default()
        .name;
    let grant = Grant {
        role: request.role.unwrap_or_default().name,
        database: context.database(&request.db_name).to_owned(),
        collection: request.collection_name,
        privilege,
        grantor: grantor(context),
    };
    change_grant(door, grant, request.r#type).await
}

/// What clients call the kind of thing that a privilege or a group is granted on.
fn object_type(name: &str) -> &'static str {
    match Privilege::named(name) {
        Some(privilege) => privilege.object_type(),
        None => match group_level(name) {
            Some(Level::Collection) | None => "Collection",
            Some(Level::Database | Level::Cluster) => "Global",
        },
    }
}

pub(crate) fn select_grant(
    door: &Door,
    _context: &Context,
    request: &wire::SelectGrantRequest,
) -> Result<wire::SelectGrantResponse> {
    let wanted = request.entity.clone().unwrap_or_default();
    let Some(role) = wanted.role else {
        return Err(Error::invalid("the role entity in the grant entity is nil"));
    };
    let object = wanted.object.unwrap_or_default().name;
    let mut grants = door.collections().grants(Some(&role.name))?;
    grants.retain(|grant| {
        let in_database = [ANY, ""].contains(&wanted.db_name.as_str())
            || [ANY, wanted.db_name.as_str()].contains(&grant.database.as_str());
        let of_type = object.is_empty() || object == object_type(&grant.privilege);
        let of_name = wanted.object_name.is_empty() || wanted.object_name == grant.collection;
        in_database && of_type && of_name
    });
    let entities = grants.into_iter().map(|grant| wire::GrantEntity {
        role: Some(role_entity(&grant.role)),
        object: Some(wire::ObjectEntity {
            name: object_type(&grant.privilege).to_owned(),
        }),
        object_name: grant.collection,
        grantor: Some(wire::GrantorEntity {
            user: Some(wire::UserEntity { name: grant.grantor }),
            privilege: Some(wire::PrivilegeEntity {
                name: grant.privilege,
            }),
        }),
        db_name: grant.database,
    });
    Ok(wire::SelectGrantResponse {
        status: None,
        entities: entities.collect(),
    })
}

pub(crate) async fn create_group(
    door: &Door,
    _context: &Context,
    request: wire::CreatePrivilegeGroupRequest,
) -> Result<common::Status> {
    door.collections()
        .create_privilege_group(&request.group_name)
        .await?;
    Ok(common::Status::default())
}

pub(crate) async fn drop_group(
    door: &Door,
    _context: &Context,
    request: wire::DropPrivilegeGroupRequest,
) -> Result<common::Status> {
    door.collections()
        .drop_privilege_group(&request.group_name)
        .await?;
    Ok(common::Status::default())
}

/// Those that are always there, then those that users have made.
pub(crate) fn list_groups(
    door: &Door,
    _context: &Context,
    _request: &wire::ListPrivilegeGroupsRequest,
) -> Result<wire::ListPrivilegeGroupsResponse> {
    let built_in = group_names().map(|name| {
        let members = group(name).unwrap_or_default().iter();
        (
            name.to_owned(),
            members.map(|one| one.name().to_owned()).collect(),
        )
    });
    let groups = built_in.chain(door.collections().privilege_groups());
    let info = |(group_name, members): (String, Vec<String>)| wire::PrivilegeGroupInfo {
        group_name,
        privileges: members
            .into_iter()
            .map(|name| wire::PrivilegeEntity { name })
            .collect(),
    };
    Ok(wire::ListPrivilegeGroupsResponse {
        status: None,
        privilege_groups: groups.map(info).collect(),
    })
}

pub(crate) async fn operate_group(
    door: &Door,
    _context: &Context,
    request: wire::OperatePrivilegeGroupRequest,
) -> Result<common::Status> {
    let add = match wire::OperatePrivilegeGroupType::try_from(request.r#type) {
        Ok(wire::OperatePrivilegeGroupType::AddPrivilegesToGroup) => true,
        Ok(wire::OperatePrivilegeGroupType::RemovePrivilegesFromGroup) => false,
        Err(_) => {
            return Err(Error::invalid(format!(
                "unknown operation on a group: {}",
                request.r#type
            )));
        }
    };
    let privileges: Vec<String> = request.privileges.into_iter().map(|one| one.name).collect();
    door.collections()
        .change_privilege_group(&request.group_name, &privileges, add)
        .await?;
    Ok(common::Status::default())
}
